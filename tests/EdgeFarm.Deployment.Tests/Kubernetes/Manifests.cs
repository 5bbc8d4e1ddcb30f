using EdgeFarm.Deployment.Tests.Support;
using k8s;
using k8s.Models;

namespace EdgeFarm.Deployment.Tests.Kubernetes;

/// <summary>A pod template with the labels that its workload selects by.</summary>
internal sealed record Workload(string Kind, string Name, int? Replicas, IDictionary<string, string> Selector, V1PodTemplateSpec Template)
{
    public V1Container Container => Template.Spec.Containers.Single();

    public IDictionary<string, string> Labels => Template.Metadata.Labels;

    /// <summary>coordinator, worker or postgres.</summary>
    public string Role => Labels["app.kubernetes.io/component"];

    public bool IsSelectedBy(IDictionary<string, string>? selector) => selector is null || selector.All(s => Labels.TryGetValue(s.Key, out var value) && value == s.Value);

    public string? Variable(string name) => Container.Env?.FirstOrDefault(e => e.Name == name)?.Value;
}

/// <summary>An overlay as kustomize renders it, read strictly.</summary>
internal sealed class Manifests
{
    public const string Base = "base";

    private static readonly Dictionary<string, Type> Keda = new(StringComparer.Ordinal)
    {
        ["keda.sh/v1alpha1/ScaledObject"] = typeof(ScaledObject),
        ["keda.sh/v1alpha1/TriggerAuthentication"] = typeof(TriggerAuthentication),
    };

    private Manifests(string text, IReadOnlyList<object> objects) => (Text, Objects) = (text, objects);

    public static TheoryData<string> Names => [Base, "local", "gpu", "ingress", "keda"];

    public string Text { get; }

    public IReadOnlyList<object> Objects { get; }

    public IEnumerable<Workload> Workloads => All<V1StatefulSet>()
        .Select(s => new Workload("StatefulSet", s.Metadata.Name, s.Spec.Replicas, s.Spec.Selector.MatchLabels, s.Spec.Template))
        .Concat(All<V1Deployment>().Select(d => new Workload("Deployment", d.Metadata.Name, d.Spec.Replicas, d.Spec.Selector.MatchLabels, d.Spec.Template)));

    public IEnumerable<Workload> Farm => Workloads.Where(w => w.Role is "coordinator" or "worker");

    /// <summary>
    /// Renders and reads an overlay. Skips the test where no kustomize is: Debian and npm have none, so it comes with kubectl or from
    /// the project's releases.
    /// </summary>
    public static async Task<Manifests> RenderAsync(string name)
    {
        var path = Checkout.Find(name == Base ? "k8s/base" : $"k8s/overlays/{name}");
        var kubectl = Tool.Find("kubectl");
        var kustomize = Tool.Find("kustomize");
        Skip.If(kubectl is null && kustomize is null, "neither kubectl nor kustomize is on the path; install one (https://kubernetes.io/docs/tasks/tools)");
        var run = kubectl is not null ? await Tool.RunAsync(kubectl, ["kustomize", path]) : await Tool.RunAsync(kustomize!, ["build", path]);
        var text = run.Expect(0);
        return new Manifests(text, Read(text));
    }

    /// <summary>Reads documents strictly: an unknown field or a wrong type is an error.</summary>
    public static IReadOnlyList<object> Read(string text) => KubernetesYaml.LoadAllFromString(text, Keda, strict: true);

    public IEnumerable<T> All<T>() => Objects.OfType<T>();
}
