using System.Net;
using System.Net.Sockets;

namespace EdgeFarm.Deployment.Tests.Support;

/// <summary>Ports for processes that tests start.</summary>
internal static class Ports
{
    /// <summary>One that nobody listens at now.</summary>
    public static int Free()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
