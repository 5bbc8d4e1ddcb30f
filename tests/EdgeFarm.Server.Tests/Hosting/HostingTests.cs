using EdgeFarm.Server.Hosting;

namespace EdgeFarm.Server.Tests.Hosting;

public sealed class HostingTests
{
    [Theory]
    [InlineData("http://127.0.0.1:5080", "127.0.0.1", 5080)]
    [InlineData("http://localhost:0", "localhost", 0)]
    [InlineData("http://*:80", "0.0.0.0", 80)]
    [InlineData("http://[::1]:5080", "::1", 5080)]
    public void Listen_addresses_are_read(string url, string host, int port) => Assert.Equal(new ListenAddress(host, port), ListenAddress.Parse(url).Value);

    [Fact]
    public void The_scheme_tells_whether_with_TLS()
    {
        Assert.True(ListenAddress.Parse("https://0.0.0.0:5080").Value is { IsTls: true, IsLoopback: false, Url: "https://0.0.0.0:5080" });
        Assert.True(ListenAddress.Parse("http://localhost:5080").Value is { IsTls: false, IsLoopback: true });
    }

    [Theory]
    [InlineData("5080")]
    [InlineData("ftp://127.0.0.1:5080")]
    [InlineData("http://127.0.0.1:5080/path")]
    [InlineData("http://some.host:5080")]
    public void What_cannot_be_listened_at_is_refused(string url) => Assert.Contains(url.Contains("some.host", StringComparison.Ordinal) ? "some.host" : url, ListenAddress.Parse(url).Failure!.Message, StringComparison.Ordinal);

    [Fact]
    public void A_data_directory_has_one_owner_at_a_time()
    {
        var folder = Directory.CreateTempSubdirectory("edgefarm-data-");
        try
        {
            var path = Path.Combine(folder.FullName, "data");
            using (var first = DataDirectory.Open(path).Value)
            {
                var second = DataDirectory.Open(path);
                Assert.Equal(
                    $"the data directory '{first.Root}' is in use by another EdgeFarm process (process {Environment.ProcessId}); stop it, or choose another directory with --data",
                    second.Failure!.Message);
            }

            using var again = DataDirectory.Open(path).Value;
            Assert.Equal(path, again.Root);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
