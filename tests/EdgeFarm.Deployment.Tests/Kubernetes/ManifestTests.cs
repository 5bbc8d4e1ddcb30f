using k8s;
using k8s.Models;

namespace EdgeFarm.Deployment.Tests.Kubernetes;

public sealed class ManifestTests
{
    public static TheoryData<string> Names => Manifests.Names;

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Every_object_is_read_strictly_and_named_once(string overlay)
    {
        var manifests = await Manifests.RenderAsync(overlay);
        Assert.Equal(manifests.Text.Split("\n---\n").Length, manifests.Objects.Count);
        var names = manifests.Objects.Cast<IKubernetesObject<V1ObjectMeta>>().Select(o => (o.Kind, o.Metadata.Name)).ToList();
        Assert.Equal(names.Count, names.Distinct().Count());
        Assert.All(
            manifests.Objects.Cast<IKubernetesObject<V1ObjectMeta>>().Where(o => o.Kind != "Namespace"), o => Assert.Equal("edgefarm", o.Metadata.NamespaceProperty));
        Assert.DoesNotContain(manifests.Objects, o => o is V1Secret);
    }

    [Theory]
    [InlineData("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selectors: {a: b}}")]
    [InlineData("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: many}")]
    [InlineData("apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {minReplicas: 0}")]
    public void The_reader_refuses_what_the_types_do_not_have(string text) => Assert.ThrowsAny<Exception>(() => Manifests.Read(text));

    [SkippableFact]
    public async Task The_overlays_are_what_they_say()
    {
        var farm = await Manifests.RenderAsync(Manifests.Base);
        Assert.Equal(3, farm.Workloads.Single(w => w.Role == "coordinator").Replicas);
        Assert.Equal("Parallel", farm.All<V1StatefulSet>().Single().Spec.PodManagementPolicy);
        Assert.Equal(["edgefarm-worker-arm64", "edgefarm-worker-cpu-x64", "edgefarm-worker-cuda"], farm.All<V1Deployment>().Select(d => d.Metadata.Name).Order());
        Assert.DoesNotContain("postgres:", farm.Text, StringComparison.Ordinal);

        var local = await Manifests.RenderAsync("local");
        Assert.Contains(local.Workloads, w => w.Role == "postgres");
        Assert.Equal("true", local.Workloads.Single(w => w.Role == "coordinator").Variable("EDGEFARM__Insecure"));

        Assert.Equal(1, (await Manifests.RenderAsync("gpu")).Workloads.Single(w => w.Name == "edgefarm-worker-cuda").Replicas);
        Assert.NotEmpty(Assert.Single((await Manifests.RenderAsync("ingress")).All<V1Ingress>()).Spec.Tls);
        Assert.Equal(3, (await Manifests.RenderAsync("keda")).All<ScaledObject>().Count());
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task A_door_off_loopback_has_tls_and_tokens_or_says_that_it_has_none(string overlay)
    {
        foreach (var workload in (await Manifests.RenderAsync(overlay)).Workloads.Where(w => w.Role == "coordinator"))
        {
            Assert.Equal(workload.Variable("EDGEFARM__Insecure") != "true", workload.Variable("EDGEFARM__Tls__Certificate") is not null);
            Assert.Equal(workload.Variable("EDGEFARM__Insecure") != "true", workload.Variable("EDGEFARM__Tokens") is not null);
        }
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Pods_have_no_rights_that_they_do_not_need(string overlay)
    {
        foreach (var workload in (await Manifests.RenderAsync(overlay)).Workloads)
        {
            var pod = workload.Template.Spec;
            Assert.True(pod.SecurityContext.RunAsNonRoot);
            Assert.NotEqual(0, pod.SecurityContext.RunAsUser);
            Assert.False(pod.AutomountServiceAccountToken);
            Assert.All(pod.Containers, c =>
            {
                Assert.False(c.SecurityContext.AllowPrivilegeEscalation);
                Assert.Equal(["ALL"], c.SecurityContext.Capabilities.Drop);
                Assert.True(workload.Role == "postgres" || c.SecurityContext.ReadOnlyRootFilesystem == true);
            });
        }
    }

    [SkippableTheory]
    [InlineData("base")]
    [InlineData("gpu")]
    [InlineData("ingress")]
    [InlineData("keda")]
    public async Task Worker_pods_measure_alone(string overlay)
    {
        var workers = (await Manifests.RenderAsync(overlay)).Workloads.Where(w => w.Role == "worker").ToList();
        foreach (var worker in workers)
        {
            Assert.All(worker.Template.Spec.Containers.Concat(worker.Template.Spec.InitContainers ?? []), c =>
            {
                // Guaranteed quality of service with whole CPUs: what the kubelet's static CPU manager gives cores to.
                foreach (var resource in (string[])["cpu", "memory"])
                {
                    Assert.Equal(c.Resources.Requests[resource].ToString(), c.Resources.Limits[resource].ToString());
                }

                var cpus = c.Resources.Limits["cpu"].ToDecimal();
                Assert.True(cpus >= 1 && cpus == decimal.Truncate(cpus), $"{worker.Name}: {cpus} CPUs");
            });

            var apart = worker.Template.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution.Single();
            Assert.Equal("kubernetes.io/hostname", apart.TopologyKey);
            Assert.NotNull(apart.NamespaceSelector);
            Assert.All(workers, other => Assert.True(other.IsSelectedBy(apart.LabelSelector.MatchLabels), $"{worker.Name} would share a node with {other.Name}"));
        }
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task A_gpu_pod_asks_for_its_gpu_and_may_stand_on_its_node(string overlay)
    {
        var cuda = (await Manifests.RenderAsync(overlay)).Workloads.Single(w => w.Name == "edgefarm-worker-cuda");
        Assert.Equal("1", cuda.Container.Resources.Limits["nvidia.com/gpu"].ToString());
        Assert.Contains(cuda.Template.Spec.Tolerations, t => t.Key == "nvidia.com/gpu");
        Assert.Equal("true", cuda.Template.Spec.NodeSelector["nvidia.com/gpu.present"]);
    }
}
