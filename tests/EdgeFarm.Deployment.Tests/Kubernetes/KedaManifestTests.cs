using EdgeFarm.Core.Fleet;
using EdgeFarm.Deployment.Tests.Support;
using EdgeFarm.Server;
using k8s.Models;

namespace EdgeFarm.Deployment.Tests.Kubernetes;

public sealed class KedaManifestTests
{
    private static readonly Dictionary<string, string> Architectures = new(StringComparer.Ordinal) { ["amd64"] = "x64", ["arm64"] = "arm64" };

    [SkippableFact]
    public async Task Each_scaled_object_is_for_a_deployment_that_leaves_the_number_to_it()
    {
        var manifests = await Manifests.RenderAsync("keda");
        var deployments = manifests.Workloads.Where(w => w.Role == "worker").ToDictionary(w => w.Name);
        var scaled = manifests.All<ScaledObject>().ToList();
        Assert.Equal(deployments.Keys.Order(), scaled.Select(s => s.Spec.ScaleTargetRef.Name).Order());
        Assert.All(deployments.Values, d => Assert.Null(d.Replicas));
        Assert.All(scaled, s =>
        {
            Assert.Equal(("apps/v1", "Deployment"), (s.Spec.ScaleTargetRef.ApiVersion, s.Spec.ScaleTargetRef.Kind));
            Assert.Equal(0, s.Spec.MinReplicaCount);
            Assert.True(s.Spec.MaxReplicaCount > 0);
        });
    }

    [SkippableFact]
    public async Task The_scaler_can_read_what_the_triggers_say()
    {
        var manifests = await Manifests.RenderAsync("keda");
        var deployments = manifests.Workloads.ToDictionary(w => w.Name);
        var triggers = manifests.All<ScaledObject>().Select(s => (Target: deployments[s.Spec.ScaleTargetRef.Name], Trigger: s.Spec.Triggers.Single())).ToList();
        Assert.Single(triggers.Select(t => t.Trigger.Metadata["workers"]).Distinct());

        var templates = WorkerTemplate.ParseAll(triggers[0].Trigger.Metadata["workers"], BuiltInToolchains.Catalog).Value;
        Assert.Equal(triggers.Select(t => t.Trigger.Metadata["deviceClass"]).Order(), templates.Select(t => t.DeviceClass).Order());
        Assert.Equal("cpu", templates[0].Worker.Devices[0].Kind);
        foreach (var (target, trigger) in triggers)
        {
            Assert.Equal("external", trigger.Type);
            Assert.Equal(["deviceClass", "jobsPerWorker", "scalerAddress", "workers"], trigger.Metadata.Keys.Order());
            Assert.Equal(target.Labels["edgefarm.io/device-class"], trigger.Metadata["deviceClass"]);
            Assert.Equal($"{SettingsFile.Worker.Number("Slots")}", trigger.Metadata["jobsPerWorker"]);

            // The template says of the pod what the Deployment says of its node.
            var worker = templates.Single(t => t.DeviceClass == trigger.Metadata["deviceClass"]).Worker;
            Assert.Equal(Architectures[target.Template.Spec.NodeSelector["kubernetes.io/arch"]], worker.Properties["arch"].Text);
            Assert.Equal(target.Template.Spec.NodeSelector["kubernetes.io/os"], worker.Properties["os"].Text);
            Assert.Equal((double)target.Container.Resources.Limits["memory"].ToDecimal(), worker.Properties["memory.limit"].Number);
            Assert.Equal((double)target.Container.Resources.Limits["cpu"].ToDecimal(), worker.Properties["cpu.cores.physical"].Number);
            Assert.Equal(target.Container.Resources.Limits.ContainsKey("nvidia.com/gpu"), worker.Devices[0].Kind == "gpu");

            var address = trigger.Metadata["scalerAddress"].Split(':');
            var service = manifests.All<V1Service>().Single(s => $"{s.Metadata.Name}.{s.Metadata.NamespaceProperty}.svc.cluster.local" == address[0]);
            Assert.Contains(service.Spec.Ports, p => p.Name == "grpc" && $"{p.Port}" == address[1]);

            // With the certificate's authority KEDA speaks TLS, as the coordinators do.
            var authentication = manifests.All<TriggerAuthentication>().Single(a => a.Metadata.Name == trigger.AuthenticationRef!.Name);
            Assert.Equal(("caCert", "edgefarm-tls", "ca.crt"), authentication.Spec.SecretTargetRef.Select(t => (t.Parameter, t.Name, t.Key)).Single());
        }
    }
}
