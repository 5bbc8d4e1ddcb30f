using EdgeFarm.Core.Jobs;
using EdgeFarm.Toolchains.LlamaCpp.Native;

namespace EdgeFarm.Toolchains.LlamaCpp.Engine;

/// <summary>
/// One small product of matrices on a device, compared with the exact result. It is what shows that a driver can run the kernels of a build:
/// one that cannot lists the device all the same, and ends the process at the first kernel.
/// </summary>
public static class LlamaDeviceProof
{
    private const int Float32 = 0, Float16 = 1;
    private const int Inner = 256, Rows = 32, Columns = 8;

    /// <summary>Computes on the device and returns null, or tells how the result is wrong. Unsupported when there is no such device.</summary>
    /// <param name="farmId">The farm's id of the device, e.g. <c>cuda:0</c>.</param>
    /// <param name="libraryPath">As for <see cref="LlamaProbe.Run"/>.</param>
    /// <param name="hooks">Where the log goes; null for nowhere.</param>
    public static Failure? Run(string farmId, string? libraryPath = null, LlamaHooks? hooks = null)
    {
        var outcome = LlamaLibrary.Run(libraryPath, hooks ?? LlamaHooks.None, (library, _) =>
        {
            library.LoadAccelerators();
            var devices = library.QueryDevices();
            var index = devices.ToList().FindIndex(device => device.FarmId == farmId);
            return index >= 0
                ? Compute(library.Api, (nuint)index)
                : throw new FailureException(Failure.Unsupported($"llama.cpp has no device {farmId} here; it has {string.Join(", ", devices.Select(device => device.FarmId))}"));
        });
        if (!outcome.IsOk)
        {
            return outcome.Failure;
        }

        var computed = outcome.Value;
        for (var i = 0; i < computed.Length; i++)
        {
            var exact = Enumerable.Range(0, Inner).Sum(k => Weight(i % Rows, k) * Value(i / Rows, k));
            // Whole numbers this small are exact in every type that a kernel may compute with.
            if (!(MathF.Abs(computed[i] - exact) < 0.5f))
            {
                return new Failure(FailureType.Internal, $"{farmId} computes wrongly: element {i} of a product of matrices is {computed[i]}, not {exact}");
            }
        }

        return null;
    }

    private static int Weight(int row, int k) => ((row + k) % 5) - 2;

    private static int Value(int column, int k) => (((column + 1) * k) % 7) - 3;

    private static unsafe float[] Compute(LlamaApi api, nuint index)
    {
        var backend = api.DevInit(api.DevGet(index), null);
        if (backend is null)
        {
            throw new FailureException(new Failure(FailureType.Internal, "the device does not start"));
        }

        var context = api.GgmlInit(new GgmlInitParams { MemorySize = (api.TensorOverhead() * 8) + api.GraphOverhead(), NoAlloc = 1 });
        try
        {
            var weights = api.NewTensor2d(context, Float16, Inner, Rows);
            var values = api.NewTensor2d(context, Float32, Inner, Columns);
            var product = api.MulMat(context, weights, values);
            var graph = api.NewGraph(context);
            api.BuildForwardExpand(graph, product);
            var buffer = api.AllocCtxTensors(context, backend);
            if (buffer is null)
            {
                throw new FailureException(new Failure(FailureType.OutOfMemory, "the device has no memory free"));
            }

            Half[] a = [.. Enumerable.Range(0, Rows * Inner).Select(i => (Half)Weight(i / Inner, i % Inner))];
            float[] b = [.. Enumerable.Range(0, Columns * Inner).Select(i => (float)Value(i / Inner, i % Inner))];
            var c = new float[Rows * Columns];
            fixed (Half* source = a)
            {
                api.TensorSet(weights, source, 0, (nuint)(a.Length * sizeof(Half)));
            }

            fixed (float* source = b)
            {
                api.TensorSet(values, source, 0, (nuint)(b.Length * sizeof(float)));
            }

            var status = api.GraphCompute(backend, graph);
            if (status != 0)
            {
                throw new FailureException(new Failure(FailureType.Internal, $"the device ended a product of matrices with status {status}"));
            }

            fixed (float* target = c)
            {
                api.TensorGet(product, target, 0, (nuint)(c.Length * sizeof(float)));
            }

            api.BufferFree(buffer);
            return c;
        }
        finally
        {
            api.GgmlFree(context);
            api.BackendFree(backend);
        }
    }
}
