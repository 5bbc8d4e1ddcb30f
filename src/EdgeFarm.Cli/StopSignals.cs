using System.Runtime.InteropServices;

namespace EdgeFarm.Cli;

/// <summary>Ctrl+C and SIGTERM as a token. A second Ctrl+C ends the process at once.</summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly PosixSignalRegistration[] _registrations;

    public StopSignals() =>
        _registrations = [PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal), PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal)];

    /// <summary>Cancelled at the first signal.</summary>
    public CancellationToken Token => _stop.Token;

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _stop.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        // Without this the runtime ends the process before the farm has stopped.
        context.Cancel = !_stop.IsCancellationRequested;
        if (context.Cancel)
        {
            // The handler's thread must not run what the cancellation continues.
            _ = Task.Run(_stop.Cancel);
        }
    }
}
