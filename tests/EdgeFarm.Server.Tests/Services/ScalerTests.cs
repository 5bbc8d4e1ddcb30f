using EdgeFarm.Actors;
using EdgeFarm.Contracts.Keda;
using EdgeFarm.Core.Fleet;
using EdgeFarm.Server.Tests.Support;
using Grpc.Core;
using Grpc.Net.Client;

namespace EdgeFarm.Server.Tests.Services;

public sealed class ScalerTests : IAsyncLifetime
{
    private TestServer _server = null!;
    private GrpcChannel _channel = null!;

    private ExternalScaler.ExternalScalerClient Scaler => new(_channel);

    public async Task InitializeAsync()
    {
        _server = await TestServer.StartAsync();
        _channel = GrpcChannel.ForAddress(_server.Address);
    }

    public async Task DisposeAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task Waiting_and_leased_jobs_of_the_class_are_told()
    {
        _server.Farm.Demand = t => new FleetDemand([.. t.Select(c => new ClassDemand(c.DeviceClass, c.DeviceClass == "cuda" ? 3 : 0, c.DeviceClass == "cuda" ? 2 : 0))], 7);

        var spec = Assert.Single((await Scaler.GetMetricSpecAsync(Scaled("cuda", ("jobsPerWorker", "4")))).MetricSpecs);
        Assert.Equal(("edgefarm-jobs-cuda", 4L, 4.0), (spec.MetricName, spec.TargetSize, spec.TargetSizeFloat));
        var value = Assert.Single((await Scaler.GetMetricsAsync(new GetMetricsRequest { ScaledObjectRef = Scaled("cuda"), MetricName = spec.MetricName })).MetricValues);
        Assert.Equal(("edgefarm-jobs-cuda", 5L, 5.0), (value.MetricName, value.MetricValue_, value.MetricValueFloat));
        Assert.True((await Scaler.IsActiveAsync(Scaled("cuda"))).Result);
        Assert.False((await Scaler.IsActiveAsync(Scaled("cpu-x64"))).Result);

        using var http = new HttpClient();
        var metrics = await http.GetStringAsync(new Uri(_server.Http, "/metrics"));
        Assert.Contains("edgefarm_scaler_jobs{", metrics, StringComparison.Ordinal);
        Assert.Matches("edgefarm_scaler_jobs\\{[^}]*device_class=\"cuda\"[^}]*state=\"leased\"[^}]*\\} 2\\b", metrics);
    }

    [Fact]
    public async Task A_stream_tells_at_once_and_when_it_changes()
    {
        var jobs = 0;
        _server.Farm.Demand = t => new FleetDemand([.. t.Select(c => new ClassDemand(c.DeviceClass, Volatile.Read(ref jobs), 0))], 0);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        using var call = Scaler.StreamIsActive(Scaled("cuda"), cancellationToken: limit.Token);

        Assert.True(await call.ResponseStream.MoveNext(limit.Token));
        Assert.False(call.ResponseStream.Current.Result);
        Volatile.Write(ref jobs, 1);
        Assert.True(await call.ResponseStream.MoveNext(limit.Token));
        Assert.True(call.ResponseStream.Current.Result);
    }

    [Fact]
    public async Task While_the_dispatcher_cannot_be_reached_nothing_is_told()
    {
        _server.Farm.Fault = new FarmUnavailableException("the dispatcher did not answer within 15 s");
        var first = await Assert.ThrowsAsync<RpcException>(async () => await Scaler.IsActiveAsync(Scaled("cuda")));
        _server.Farm.Fault = new FarmUnavailableException("the dispatcher did not answer within 15 s");
        var second = await Assert.ThrowsAsync<RpcException>(async () => await Scaler.GetMetricsAsync(new GetMetricsRequest { ScaledObjectRef = Scaled("cuda") }));
        _server.Farm.Fault = new FarmUnavailableException("the dispatcher did not answer within 15 s");
        using var stream = Scaler.StreamIsActive(Scaled("cuda"));
        var third = await Assert.ThrowsAsync<RpcException>(async () => await stream.ResponseStream.MoveNext(CancellationToken.None));
        Assert.All([first, second, third], e => Assert.Equal(StatusCode.Unavailable, e.StatusCode));
    }

    [Theory]
    [InlineData("deviceClass", "", "deviceClass: the trigger's metadata of ScaledObject 'farm/workers' lacks it")]
    [InlineData("deviceClass", "tpu", "'tpu' has no line in 'workers'; there are: cpu-x64, cuda")]
    [InlineData("workers", "", "workers: the trigger's metadata of ScaledObject 'farm/workers' lacks it")]
    [InlineData("workers", "cuda: os", "'os' is no property")]
    [InlineData("jobsPerWorker", "0", "must be 1 to 10000, not '0'")]
    [InlineData("jobsPerWorker", "many", "must be 1 to 10000, not 'many'")]
    public async Task Wrong_metadata_is_refused_with_what_is_wrong(string key, string value, string message)
    {
        var error = await Assert.ThrowsAsync<RpcException>(async () => await Scaler.GetMetricSpecAsync(Scaled("cuda", (key, value))));
        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
        Assert.Contains(message, error.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_metric_is_refused()
    {
        var error = await Assert.ThrowsAsync<RpcException>(async () =>
            await Scaler.GetMetricsAsync(new GetMetricsRequest { ScaledObjectRef = Scaled("cuda"), MetricName = "edgefarm-jobs-cpu-x64" }));
        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
    }

    private static ScaledObjectRef Scaled(string deviceClass, params (string Key, string Value)[] more)
    {
        var scaled = new ScaledObjectRef { Name = "workers", Namespace = "farm" };
        scaled.ScalerMetadata["scalerAddress"] = "edgefarm:5080";
        scaled.ScalerMetadata["deviceClass"] = deviceClass;
        scaled.ScalerMetadata["workers"] = "cpu-x64: os=linux arch=x64 device.kind=cpu\ncuda: os=linux arch=x64 device.kind=gpu gpu.vendor=nvidia\n";
        foreach (var (key, value) in more)
        {
            scaled.ScalerMetadata[key] = value;
        }

        return scaled;
    }
}
