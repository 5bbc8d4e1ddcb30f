using System.Collections.Immutable;
using EdgeFarm.Core.Planning;
using EdgeFarm.Core.Sweeps;

namespace EdgeFarm.Actors.Serialization;

/// <summary>A submission with its spec and plan as records.proto and back.</summary>
internal static class SubmissionMapping
{
    public static Wire.Submission Wire(this SweepSubmission s)
    {
        var wire = new Wire.Submission
        {
            Id = s.Id,
            RequestId = s.RequestId,
            ContentDigest = s.ContentDigest.Wire(),
            Owner = s.Owner,
            Yaml = s.Yaml,
            Spec = Wire(s.Spec),
            Plan = Wire(s.Plan),
            Fresh = s.Fresh,
            Traceparent = s.TraceParent,
        };
        wire.Sources.Put(s.Sources, RecordMapping.Wire);
        wire.LibraryVariants.Add(s.LibraryVariants);
        return wire;
    }

    public static SweepSubmission ToCore(this Wire.Submission s) => new(
        s.Id,
        s.RequestId,
        s.ContentDigest.ToDigest(),
        s.Owner,
        s.Yaml,
        ToCore(s.Spec),
        s.Sources.Sorted(RecordMapping.ToCore),
        new SweepPlan(
            s.Plan.Parts.Count > 0 ? [.. s.Plan.Parts.SelectMany(p => PlanMapping.Jobs(p, s.Id))] : s.Plan.Jobs.Array(RecordMapping.ToCore),
            s.Plan.Parts.Count > 0 ? [.. s.Plan.Parts.SelectMany(p => p.Entries).Select(RecordMapping.ToCore)] : s.Plan.Entries.Array(RecordMapping.ToCore),
            s.Plan.LeftOut.Array(l => new LeftOut(l.What, l.Reason))),
        s.Fresh)
    {
        TraceParent = s.Traceparent,
        LibraryVariants = [.. s.LibraryVariants],
    };

    private static Wire.Plan Wire(SweepPlan p)
    {
        var wire = new Wire.Plan();
        if (p.Jobs.Length > PlanMapping.LargePlan)
        {
            wire.Parts.Add(PlanMapping.Parts(p));
        }
        else
        {
            wire.Jobs.Put(p.Jobs, RecordMapping.Wire);
            wire.Entries.Put(p.Entries, RecordMapping.Wire);
        }

        wire.LeftOut.Put(p.LeftOut, l => new Wire.LeftOut { What = l.What, Reason = l.Reason });
        return wire;
    }

    private static Wire.Spec Wire(SweepSpec s)
    {
        var wire = new Wire.Spec { Name = s.Name };
        if (s.Limits.Size is { } size)
        {
            wire.SizeLimit = size;
        }

        if (s.Limits.Memory is { } memory)
        {
            wire.MemoryLimit = memory;
        }

        wire.Labels.Put(s.Labels);
        wire.Models.Put(s.Models, Wire);
        wire.Data.Put(s.Data, Wire);
        wire.Recipes.Put(s.Recipes, Wire);
        wire.Targets.Put(s.Targets, Wire);
        wire.Benchmark.Put(s.Benchmark);
        wire.Quality.Put(s.Quality, Wire);
        return wire;
    }

    private static SweepSpec ToCore(Wire.Spec s) => new(
        s.Name,
        s.Labels.Sorted(),
        s.Models.Array(m => new ModelSpec(m.Id, m.Source, m.Dims.Sorted(d => d.Sizes.ToImmutableArray()))),
        s.Data.Array(d => new DataSetSpec(d.Id, d.Source, d.HasLabels ? d.Labels : null)),
        s.Recipes.Array(r => new RecipeSpec(
            r.Toolchain,
            r.HasName ? r.Name : null,
            [.. r.Types_],
            r.Passes.Array(p => new PassSpec(p.Type, p.Parameters.Sorted(v => v.Items.ToImmutableArray()))),
            [.. r.Models],
            [.. r.On])
        {
            Calibration = r.HasCalibration ? r.Calibration : null,
        }),
        s.Targets.Array(t => new TargetSpec(t.Id, t.Require.Sorted(), t.Devices)),
        s.Benchmark.Sorted(),
        s.Quality.Array(q => new QualitySpec(
            q.HasText ? q.Text : null, q.HasData ? q.Data : null, [.. q.Models], q.OnTarget, q.Parameters.Sorted())))
    {
        Limits = new SweepLimits(s.HasSizeLimit ? s.SizeLimit : null, s.HasMemoryLimit ? s.MemoryLimit : null),
    };

    private static Wire.Model Wire(ModelSpec m)
    {
        var wire = new Wire.Model { Id = m.Id, Source = m.Source };
        wire.Dims.Put(m.Dims, d => new Wire.Dims { Sizes = { d } });
        return wire;
    }

    private static Wire.DataSet Wire(DataSetSpec d)
    {
        var wire = new Wire.DataSet { Id = d.Id, Source = d.Source };
        if (d.Labels is { } labels)
        {
            wire.Labels = labels;
        }

        return wire;
    }

    private static Wire.Recipe Wire(RecipeSpec r)
    {
        var wire = new Wire.Recipe { Toolchain = r.Toolchain };
        if (r.Name is { } name)
        {
            wire.Name = name;
        }

        if (r.Calibration is { } calibration)
        {
            wire.Calibration = calibration;
        }

        wire.Types_.Put(r.Types, t => t);
        wire.Passes.Put(r.Passes, Wire);
        wire.Models.Put(r.Models, m => m);
        wire.On.Put(r.On, o => o);
        return wire;
    }

    private static Wire.Pass Wire(PassSpec p)
    {
        var wire = new Wire.Pass { Type = p.Type };
        wire.Parameters.Put(p.Parameters, v => new Wire.Values { Items = { v } });
        return wire;
    }

    private static Wire.Target Wire(TargetSpec t)
    {
        var wire = new Wire.Target { Id = t.Id, Devices = t.Devices };
        wire.Require.Put(t.Require);
        return wire;
    }

    private static Wire.Quality Wire(QualitySpec q)
    {
        var wire = new Wire.Quality { OnTarget = q.OnTarget };
        if (q.Text is { } text)
        {
            wire.Text = text;
        }

        if (q.Data is { } data)
        {
            wire.Data = data;
        }

        wire.Models.Put(q.Models, m => m);
        wire.Parameters.Put(q.Parameters);
        return wire;
    }
}
