using System.Collections.Immutable;
using EdgeFarm.Core.Planning;

namespace EdgeFarm.Core.Fleet;

/// <summary>What a benchmark owns: a machine's CPU, one accelerator, or a machine attached to a worker.</summary>
/// <param name="Id">Unique on its host, e.g. <c>cpu</c>, <c>cuda:0</c>. Two workers on one host advertise the same ids.</param>
/// <param name="Kind"><c>cpu</c>, <c>gpu</c>, <c>npu</c> or <c>attached</c>.</param>
/// <param name="Properties">Properties of the device itself; a requirement looks here first, then at the host's.</param>
/// <param name="MemoryBytes">Memory that a model on this device can use, in bytes; 0 when unknown.</param>
/// <param name="Fingerprint">Hardware, driver, OS build, power mode as one line; figures of one fingerprint are comparable.</param>
public sealed record Device(
    string Id,
    string Kind,
    ImmutableSortedDictionary<string, PropertyValue> Properties,
    long MemoryBytes,
    string Fingerprint);

/// <summary>An installed engine that loads artifacts and measures them.</summary>
/// <param name="Identity">Id, release and source commit.</param>
/// <param name="LibraryVariant">Which build of the library was loaded (e.g. llama.cpp's CPU variant); empty when there is one only.</param>
/// <param name="LibraryDigest">SHA-256 of the library's files, hexadecimal; empty when not taken.</param>
/// <param name="Formats">Model formats that it reads.</param>
/// <param name="Devices">Ids of the devices of the host that it serves.</param>
public sealed record RuntimeInfo(
    EngineIdentity Identity,
    string LibraryVariant,
    string LibraryDigest,
    ImmutableArray<string> Formats,
    ImmutableArray<string> Devices)
{
    /// <summary>
    /// What results on a device name as the library's variant: on an accelerator its backend does most of the work and the processor's
    /// variant the rest, e.g. <c>vulkan+haswell</c>. Figures of equal variants compare.
    /// </summary>
    public static string VariantOn(string deviceId, string libraryVariant) =>
        deviceId == "cpu" || libraryVariant.Length == 0 ? libraryVariant : $"{deviceId.Split(':')[0]}+{libraryVariant}";
}

/// <summary>Installed passes: a toolchain whose probe succeeded.</summary>
/// <param name="Identity">Id, release and source commit.</param>
/// <param name="Passes">Types of the passes that it can run.</param>
public sealed record ToolchainInfo(EngineIdentity Identity, ImmutableArray<string> Passes);

/// <summary>What a worker advertises when it links to the farm.</summary>
/// <param name="HostId">Stable machine id; exclusivity is per host, whatever number of workers it runs.</param>
/// <param name="Worker">The worker's name, unique in the farm.</param>
/// <param name="Properties">Properties of the host.</param>
/// <param name="Labels">Labels given by its owner; required as <c>label.KEY</c>.</param>
/// <param name="Devices">Devices; at least the CPU.</param>
/// <param name="Runtimes">Engines that measure.</param>
/// <param name="Toolchains">Engines that make forms.</param>
/// <param name="Slots">Shared jobs that it runs at once.</param>
public sealed record WorkerCapability(
    string HostId,
    string Worker,
    ImmutableSortedDictionary<string, PropertyValue> Properties,
    ImmutableSortedDictionary<string, string> Labels,
    ImmutableArray<Device> Devices,
    ImmutableArray<RuntimeInfo> Runtimes,
    ImmutableArray<ToolchainInfo> Toolchains,
    int Slots)
{
    /// <summary>
    /// Longest that a job may take which the worker is given, because it may be asked to stop at any time and has so long to finish;
    /// null when it takes any.
    /// </summary>
    public TimeSpan? DrainTime { get; init; }
}
