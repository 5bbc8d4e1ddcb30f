using System.Globalization;
using System.Text;
using EdgeFarm.Core.Jobs;

namespace EdgeFarm.Core.Planning;

/// <summary>A text that two jobs of a plan share only if they are the same work for the same model, target and device.</summary>
internal static class JobKey
{
    public static string Of(JobSpec job)
    {
        var text = new StringBuilder();
        Append(text, job.Kind.ToString());
        Append(text, job.Operation);
        Append(text, job.Engine.ToString());
        Append(text, job.Model);
        Append(text, job.Target ?? "");
        Append(text, job.DeviceGroup ?? "");
        foreach (var (name, value) in job.Parameters)
        {
            Append(text, name);
            Append(text, value);
        }

        text.Append('|');
        foreach (var input in job.Inputs)
        {
            Append(text, input.Name);
            Append(text, input.Source.Artifact?.Digest.Hex ?? "");
            Append(text, input.Source.Job ?? "");
            Append(text, input.Source.Output ?? "");
        }

        return text.ToString();
    }

    // Lengths keep neighbours apart.
    private static void Append(StringBuilder text, string part) => text.Append(CultureInfo.InvariantCulture, $"{part.Length}:{part}");
}
