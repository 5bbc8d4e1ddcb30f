using EdgeFarm.Deployment.Tests.Support;
using k8s.Models;

namespace EdgeFarm.Deployment.Tests.Kubernetes;

/// <summary>What one object says of another is so.</summary>
public sealed class CrossReferenceTests
{
    /// <summary>Made by hand before the manifests are applied; docs/operations.md has the commands.</summary>
    private static readonly Dictionary<string, string[]> Secrets = new(StringComparer.Ordinal)
    {
        ["edgefarm-database"] = ["connection-string", "password"],
        ["edgefarm-tls"] = ["tls.crt", "tls.key", "ca.crt"],
        ["edgefarm-tokens"] = ["tokens"],
        ["edgefarm-worker-token"] = ["token"],
        ["edgefarm-ingress-tls"] = ["tls.crt", "tls.key"],
    };

    public static TheoryData<string> Names => Manifests.Names;

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Selectors_select(string overlay)
    {
        var manifests = await Manifests.RenderAsync(overlay);
        var workloads = manifests.Workloads.ToList();
        Assert.All(workloads, w => Assert.Single(workloads, other => other.IsSelectedBy(w.Selector)));
        foreach (var service in manifests.All<V1Service>())
        {
            var selected = workloads.Where(w => w.IsSelectedBy(service.Spec.Selector)).ToList();
            Assert.NotEmpty(selected);
            Assert.All(service.Spec.Ports, p => Assert.All(selected, w => Assert.Contains(w.Container.Ports, c => c.Name == p.TargetPort.Value)));
            Assert.All(service.Spec.Ports, p => Assert.All(selected, w => Assert.Equal(p.Port, w.Container.Ports.Single(c => c.Name == p.TargetPort.Value).ContainerPort)));
        }

        Assert.All(manifests.All<V1PodDisruptionBudget>(), b => Assert.Contains(workloads, w => w.IsSelectedBy(b.Spec.Selector.MatchLabels)));
        foreach (var set in manifests.All<V1StatefulSet>())
        {
            Assert.Contains(manifests.All<V1Service>(), s => s.Metadata.Name == set.Spec.ServiceName);
        }

        var seeds = manifests.All<V1Service>().Single(s => s.Metadata.Name == manifests.All<V1StatefulSet>().Single(t => t.Metadata.Name == "edgefarm-coordinator").Spec.ServiceName);
        Assert.Equal("None", seeds.Spec.ClusterIP);
        Assert.True(seeds.Spec.PublishNotReadyAddresses);
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Network_policies_name_pods_and_ports_that_exist(string overlay)
    {
        var manifests = await Manifests.RenderAsync(overlay);
        var workloads = manifests.Workloads.ToList();
        foreach (var policy in manifests.All<V1NetworkPolicy>())
        {
            var guarded = workloads.Where(w => w.IsSelectedBy(policy.Spec.PodSelector.MatchLabels)).ToList();
            Assert.NotEmpty(guarded);
            foreach (var rule in policy.Spec.Ingress)
            {
                Assert.All(rule.Ports, p => Assert.All(guarded, w => Assert.Contains(w.Container.Ports, c => c.Name == p.Port.Value)));
                foreach (var peer in rule.FromProperty.Where(p => p.NamespaceSelector is null && !p.PodSelector.MatchLabels.ContainsKey("edgefarm.io/client")))
                {
                    Assert.Contains(workloads, w => w.IsSelectedBy(peer.PodSelector.MatchLabels));
                }
            }

            foreach (var rule in policy.Spec.Egress?.Where(r => r.To is { Count: > 0 }) ?? [])
            {
                var reached = workloads.Where(w => rule.To.Any(t => w.IsSelectedBy(t.PodSelector.MatchLabels))).ToList();
                Assert.NotEmpty(reached);
                Assert.All(rule.Ports, p => Assert.All(reached, w => Assert.Contains(w.Container.Ports, c => $"{c.ContainerPort}" == p.Port.Value)));
            }
        }

        // Every pod is guarded, and what it must reach lets it in.
        Assert.All(workloads, w => Assert.Contains(manifests.All<V1NetworkPolicy>(), p => w.IsSelectedBy(p.Spec.PodSelector.MatchLabels)));
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Volumes_and_settings_files_exist(string overlay)
    {
        var manifests = await Manifests.RenderAsync(overlay);
        foreach (var workload in manifests.Workloads)
        {
            var pod = workload.Template.Spec;
            var claims = manifests.All<V1StatefulSet>().SingleOrDefault(s => s.Metadata.Name == workload.Name)?.Spec.VolumeClaimTemplates?.Select(c => c.Metadata.Name) ?? [];
            var volumes = (pod.Volumes ?? []).Select(v => v.Name).Concat(claims).ToList();
            var mounts = pod.Containers.SelectMany(c => c.VolumeMounts).ToList();
            Assert.Equal(volumes.Order(), mounts.Select(m => m.Name).Distinct().Order());
            Assert.All((pod.Volumes ?? []).Where(v => v.PersistentVolumeClaim is not null), v =>
                Assert.Contains(manifests.All<V1PersistentVolumeClaim>(), c => c.Metadata.Name == v.PersistentVolumeClaim.ClaimName));
            foreach (var volume in (pod.Volumes ?? []).Where(v => v.ConfigMap is not null))
            {
                var map = manifests.All<V1ConfigMap>().Single(m => m.Metadata.Name == volume.ConfigMap.Name);
                Assert.All(volume.ConfigMap.Items, i => Assert.Contains(i.Key, map.Data.Keys));
            }

            foreach (var volume in (pod.Volumes ?? []).Where(v => v.Secret is not null))
            {
                Assert.All(volume.Secret.Items ?? [], i => Assert.Contains(i.Key, Secrets[volume.Secret.SecretName]));
                Assert.Contains(volume.Secret.SecretName, Secrets.Keys);
            }

            Assert.All(
                pod.Containers.SelectMany(c => c.Env ?? []).Select(e => e.ValueFrom?.SecretKeyRef).OfType<V1SecretKeySelector>(),
                r => Assert.Contains(r.Key, Secrets[r.Name]));
        }

        foreach (var workload in manifests.Farm)
        {
            // Started on the file of its role, which is the one in cluster-config, with settings that it has.
            var settings = SettingsFile.Of(workload.Role);
            Assert.Equal([workload.Role, "--config", $"/etc/edgefarm/{settings.Name}"], workload.Container.Args);
            var config = workload.Template.Spec.Volumes.Single(v => v.Name == "config").ConfigMap;
            Assert.Equal("/etc/edgefarm", workload.Container.VolumeMounts.Single(m => m.Name == "config").MountPath);
            Assert.Equal((settings.Name, settings.Name), (config.Items.Single().Key, config.Items.Single().Path));
            Assert.Equal(
                await File.ReadAllTextAsync(Checkout.Find($"cluster-config/{settings.Name}")),
                manifests.All<V1ConfigMap>().Single(m => m.Metadata.Name == config.Name).Data[settings.Name]);
            Assert.All(workload.Container.Env.Where(e => SettingsFile.IsSetting(e.Name)), e => Assert.True(settings.Has(e.Name), $"{e.Name} is no setting of {settings.Name}"));

            // Files that the settings name are mounted, and what is written to is a volume.
            var mounts = workload.Container.VolumeMounts.Select(m => m.MountPath).ToList();
            var files = workload.Container.Env.Where(e => e.Value?.StartsWith("/etc/", StringComparison.Ordinal) == true).Select(e => e.Value);
            Assert.All(files, f => Assert.Contains(Path.GetDirectoryName(f), mounts));
            Assert.All(files.Where(f => f.StartsWith("/etc/edgefarm-tls/", StringComparison.Ordinal)), f =>
                Assert.Contains(workload.Template.Spec.Volumes.Single(v => v.Name == "tls").Secret.Items, i => i.Path == Path.GetFileName(f)));
            Assert.Contains(settings.Text("Data"), mounts);
            Assert.True(workload.Role == "worker" || mounts.Contains(settings.Text("Artifacts.Directory")));
        }
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Ports_services_and_probes_are_those_of_the_settings(string overlay)
    {
        var manifests = await Manifests.RenderAsync(overlay);
        var services = manifests.All<V1Service>().ToDictionary(s => s.Metadata.Name);
        foreach (var workload in manifests.Farm)
        {
            var settings = SettingsFile.Of(workload.Role);
            int Port(string name) => workload.Container.Ports.Single(p => p.Name == name).ContainerPort;
            Assert.Equal(settings.Port("Http"), Port("http"));
            Assert.Equal($"{settings.Port("Http")}", workload.Template.Metadata.Annotations["prometheus.io/port"]);
            foreach (var (probe, path) in new[]
            {
                (workload.Container.StartupProbe, "/health/live"), (workload.Container.LivenessProbe, "/health/live"), (workload.Container.ReadinessProbe, "/health/ready"),
            })
            {
                Assert.Equal(("http", path), (probe.HttpGet.Port.Value, probe.HttpGet.Path));
            }

            if (workload.Role == "coordinator")
            {
                var listen = workload.Variable("EDGEFARM__Listen") is { } changed ? new Uri(changed) : new Uri(settings.Text("Listen"));
                Assert.Equal(workload.Variable("EDGEFARM__Tls__Certificate") is null ? "http" : "https", listen.Scheme);
                Assert.Equal((listen.Port, settings.Number("Cluster.Port")), (Port("grpc"), Port("cluster")));
                Assert.True(workload.Template.Spec.TerminationGracePeriodSeconds > settings.Number("DrainSeconds"));
                Assert.Equal(workload.Replicas - 1, settings.Number("Cluster.MinimumPeers"));
                var seeds = workload.Variable("EDGEFARM__Cluster__SeedName")!.Split(':');
                Assert.Contains(services[seeds[0]].Spec.Ports, p => $"{p.Port}" == seeds[1] && p.Port == settings.Number("Cluster.Port"));

                // Seeds are found as addresses, so a pod must call itself by its own.
                Assert.Equal("$(POD_IP)", workload.Variable("EDGEFARM__Cluster__Host"));
                Assert.Equal("status.podIP", workload.Container.Env.Single(e => e.Name == "POD_IP").ValueFrom.FieldRef.FieldPath);
            }
            else
            {
                Assert.Equal(workload.Variable("EDGEFARM__DrainSeconds"), $"{workload.Template.Spec.TerminationGracePeriodSeconds}");
                Assert.Equal("true", workload.Variable("EDGEFARM__OnlyWhatFits"));
                var farm = new Uri(workload.Variable("EDGEFARM__Farm__0")!);
                Assert.Contains(services[farm.Host].Spec.Ports, p => p.Port == farm.Port && p.Name == "grpc");
                var secure = manifests.Workloads.Single(w => w.Role == "coordinator").Variable("EDGEFARM__Tls__Certificate") is not null;
                Assert.Equal(secure ? "https" : "http", farm.Scheme);
                Assert.Equal("metadata.labels['edgefarm.io/device-class']", workload.Container.Env.Single(e => e.Name == "EDGEFARM__DeviceClass").ValueFrom.FieldRef.FieldPath);
                Assert.NotEmpty(workload.Labels["edgefarm.io/device-class"]);
            }
        }

        foreach (var path in manifests.All<V1Ingress>().SelectMany(i => i.Spec.Rules).SelectMany(r => r.Http.Paths))
        {
            Assert.Contains(services[path.Backend.Service.Name].Spec.Ports, p => p.Name == path.Backend.Service.Port.Name);
        }

        Assert.All(manifests.All<V1Ingress>().SelectMany(i => i.Spec.Tls), t => Assert.Contains(t.SecretName, Secrets.Keys));
    }

    [SkippableTheory]
    [MemberData(nameof(Names))]
    public async Task Images_are_targets_of_the_dockerfile(string overlay)
    {
        var targets = (await File.ReadAllLinesAsync(Checkout.Find("Dockerfile"))).Where(l => l.StartsWith("FROM ", StringComparison.Ordinal)).Select(l => l.Split(' ')[^1]).ToHashSet();
        foreach (var workload in (await Manifests.RenderAsync(overlay)).Farm)
        {
            var tag = workload.Container.Image.Split(':')[^1];
            Assert.StartsWith(Checkout.Version + "-", tag, StringComparison.Ordinal);
            Assert.Contains(tag[(Checkout.Version.Length + 1)..], targets);
        }
    }

    [Fact]
    public async Task Secrets_are_told_how_to_make()
    {
        var docs = await File.ReadAllTextAsync(Checkout.Find("docs/operations.md"));
        Assert.All(Secrets, s =>
        {
            Assert.Contains($"create secret generic {s.Key}", docs.Replace("create secret tls", "create secret generic", StringComparison.Ordinal), StringComparison.Ordinal);
        });
    }
}
