using System.Diagnostics;
using System.Runtime.InteropServices;

namespace EdgeFarm.Tests.Shared;

/// <summary>Packages that no build restores: a test that needs one fetches it once, by its lock file, into the folder that a build would use.</summary>
internal static class NpmPackages
{
    private static readonly Lock s_gate = new();

    /// <summary>The folder of libraries of a package below <c>build/npm</c>; skips the test with the reason where npm cannot bring it.</summary>
    /// <param name="folder">Folder with the lock file: <c>llama-vulkan</c>.</param>
    /// <param name="package">The package: <c>linux-x64-vulkan</c>.</param>
    public static string Bins(string folder, string package)
    {
        Skip.IfNot(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, $"{package} is for Linux on x64");
        var directory = Path.Combine(Repository.Root, "build", "npm", folder);
        var bins = Path.Combine(directory, "node_modules", "@node-llama-cpp", package, "bins", package);
        var stamp = Path.Combine(directory, "node_modules", ".edgefarm-restored");
        lock (s_gate)
        {
            if (!File.Exists(stamp))
            {
                Restore(directory);
                File.WriteAllText(stamp, "");
            }
        }

        Skip.IfNot(Directory.Exists(bins), $"npm did not install {package}");
        return bins;
    }

    private static void Restore(string directory)
    {
        try
        {
            var start = new ProcessStartInfo("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            {
                WorkingDirectory = directory,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            using var npm = Process.Start(start)!;
            var errors = npm.StandardError.ReadToEndAsync();
            npm.StandardOutput.ReadToEnd();
            npm.WaitForExit();
            Skip.If(npm.ExitCode != 0, $"npm ci failed in {directory} with exit code {npm.ExitCode}: {errors.Result}");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            Skip.If(true, $"npm cannot be started: {e.Message}");
        }
    }
}

/// <summary>The checkout that the tests run in.</summary>
internal static class Repository
{
    /// <summary>Its root directory.</summary>
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "EdgeFarm.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("the tests do not run below the repository");
    }
}
