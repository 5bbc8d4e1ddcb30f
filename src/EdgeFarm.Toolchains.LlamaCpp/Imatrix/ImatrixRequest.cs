using EdgeFarm.Toolchains.LlamaCpp.Engine;
using EdgeFarm.Toolchains.LlamaCpp.Evaluation;

namespace EdgeFarm.Toolchains.LlamaCpp.Imatrix;

/// <summary>An importance matrix to compute, as llama-imatrix does.</summary>
/// <param name="Settings">
/// How to read the text. All positions give logits, so one call takes <c>Batch</c> times the vocabulary times 4 bytes; another <c>Batch</c> than
/// the default of 2048 sums in another order and differs in the last bits.
/// </param>
/// <param name="Text">A UTF-8 text file; one newline at its end does not count.</param>
/// <param name="Output">The file to write, GGUF.</param>
public sealed record ImatrixRequest(EvaluationSettings Settings, string Text, string Output)
{
    /// <summary>The name of the text in the matrix's metadata; null takes its file name.</summary>
    public string? DatasetName { get; init; }

    /// <summary>Whether <c>output.weight</c> is part of it.</summary>
    public bool ProcessOutput { get; init; }
}

/// <summary>A written importance matrix.</summary>
/// <param name="Output">The file.</param>
/// <param name="Entries">Weight tensors that it covers.</param>
/// <param name="Chunks">Chunks that were read.</param>
/// <param name="IncompleteEntries">Entries with experts that no token was routed to: their weights count as equally important.</param>
/// <param name="Settings">The settings as run.</param>
/// <param name="Library">The library that ran; another CPU variant gives other last bits.</param>
public sealed record ImatrixResult(
    string Output, int Entries, int Chunks, int IncompleteEntries, IReadOnlyDictionary<string, string> Settings, LlamaLibraryInfo Library);
