using System.Diagnostics;

namespace EdgeFarm.Tests.Shared;

/// <summary>Hosts of their own in network namespaces, on a bridge of this machine; each can be cut off and brought back.</summary>
internal sealed class NetworkHosts : IDisposable
{
    private const int Count = 6;

    // Names of interfaces have at most 15 characters; numbers keep runs beside each other apart.
    private readonly string _id = $"ef{Environment.ProcessId % 100_000}";
    private readonly int _third = 1 + (Environment.ProcessId % 250);

    private NetworkHosts()
    {
    }

    /// <summary>Address of this machine on the bridge.</summary>
    public string Gateway => $"10.231.{_third}.1";

    public string Subnet => $"10.231.{_third}.0/24";

    public string Address(int host) => $"10.231.{_third}.{10 + host}";

    public string Namespace(int host) => $"{_id}n{host}";

    /// <summary>Makes them; null with the reason where the machine does not permit it.</summary>
    public static (NetworkHosts? Hosts, string Reason) TryCreate()
    {
        if (!OperatingSystem.IsLinux())
        {
            return (null, "network namespaces are Linux's");
        }

        var hosts = new NetworkHosts();
        if (Run("link", "add", hosts.Bridge, "type", "bridge") is { } reason)
        {
            return (null, $"no network of its own can be made here: {reason}");
        }

        try
        {
            Need("addr", "add", $"{hosts.Gateway}/24", "dev", hosts.Bridge);
            Need("link", "set", hosts.Bridge, "up");
            for (var host = 1; host <= Count; host++)
            {
                Need("netns", "add", hosts.Namespace(host));
                Need("link", "add", hosts.Outside(host), "type", "veth", "peer", "name", "eth0", "netns", hosts.Namespace(host));
                Need("link", "set", hosts.Outside(host), "master", hosts.Bridge, "up");
                Need("-n", hosts.Namespace(host), "addr", "add", $"{hosts.Address(host)}/24", "dev", "eth0");
                Need("-n", hosts.Namespace(host), "link", "set", "eth0", "up");
                Need("-n", hosts.Namespace(host), "link", "set", "lo", "up");
            }

            return (hosts, "");
        }
        catch (InvalidOperationException e)
        {
            hosts.Dispose();
            return (null, $"no network of its own can be made here: {e.Message}");
        }
    }

    /// <summary>From now on nothing reaches the host or leaves it.</summary>
    public void Cut(int host) => Need("link", "set", Outside(host), "down");

    public void Heal(int host) => Need("link", "set", Outside(host), "up");

    public void Dispose()
    {
        for (var host = 1; host <= Count; host++)
        {
            Run("netns", "del", Namespace(host));
        }

        Run("link", "del", Bridge);
    }

    private string Bridge => $"{_id}b";

    private string Outside(int host) => $"{_id}v{host}";

    private static void Need(params string[] arguments)
    {
        if (Run(arguments) is { } reason)
        {
            throw new InvalidOperationException(reason);
        }
    }

    /// <summary>Runs ip; null when it worked, else what it said.</summary>
    private static string? Run(params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            var errors = process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? null : $"ip {string.Join(' ', arguments)}: {errors.Trim()}";
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return $"ip: {e.Message} (apt-get install iproute2)";
        }
    }
}
