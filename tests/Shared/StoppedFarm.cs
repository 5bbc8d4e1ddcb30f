namespace EdgeFarm.Tests.Shared;

/// <summary>What is left of a farm that ran inside the test's process.</summary>
internal static class StoppedFarm
{
    private const int Attempts = 200;

    /// <summary>
    /// Deletes its directory. A question to the database that nobody waits for any more may end, and make a last file, while the directory
    /// is being emptied; it is then emptied again.
    /// </summary>
    public static void Delete(string directory)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                Microsoft.Data.Sqlite.SqliteConnection.ClearAllPools();
                Directory.Delete(directory, recursive: true);
                return;
            }
            catch (IOException) when (attempt < Attempts && Directory.Exists(directory))
            {
                Thread.Sleep(TimeSpan.FromMilliseconds(20));
            }
        }
    }
}
