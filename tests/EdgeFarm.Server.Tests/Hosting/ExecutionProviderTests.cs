using System.Collections.Immutable;
using EdgeFarm.Server.Hosting;
using EdgeFarm.Toolchains.JobHosts;

namespace EdgeFarm.Server.Tests.Hosting;

public sealed class ExecutionProviderTests
{
    [Fact]
    public void A_workers_libraries_reach_its_job_hosts()
    {
        var command = JobHostCommand.Of(typeof(ExecutionProviderTests).Assembly.Location);
        var given = Environment.GetEnvironmentVariable("EDGEFARM_ONNX_EP") is { Length: > 0 } own ? own + ";" : "";
        var with = WorkerSetup.WithProviders(command, ImmutableSortedDictionary<string, string>.Empty.Add("openvino", "/opt/ov.so").Add("qnn", "/opt/qnn.so"));
        Assert.Equal(given + "openvino=/opt/ov.so;qnn=/opt/qnn.so", with.Environment["EDGEFARM_ONNX_EP"]);
        Assert.Same(command, WorkerSetup.WithProviders(command, ImmutableSortedDictionary<string, string>.Empty));
    }
}
