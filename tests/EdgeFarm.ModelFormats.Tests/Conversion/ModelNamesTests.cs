using System.Text.Json;
using EdgeFarm.ModelFormats.Conversion;

namespace EdgeFarm.ModelFormats.Tests.Conversion;

public class ModelNamesTests
{
    private static readonly JsonElement Reference = JsonDocument.Parse(File.ReadAllBytes(TestData.Local("names.json"))).RootElement;

    public static TheoryData<string, long> Names() => Rows("names", "input", "total_params", (e, key) => e.GetProperty(key).GetString()!);

    public static TheoryData<string, long> Labels() => Rows("size_labels", "label", "params", (e, key) => e.GetProperty(key).GetString()!);

    [Theory]
    [MemberData(nameof(Names))]
    public void Names_are_taken_apart_as_the_reference_does(string input, long parameters)
    {
        var row = Reference.GetProperty("names").EnumerateArray().Single(e => e.GetProperty("input").GetString() == input && e.GetProperty("total_params").GetInt64() == parameters);
        string? Expected(string key) => row.GetProperty(key).GetString();
        var parts = ModelNames.Split(input, parameters);

        Assert.Equal(Expected("name"), ModelNames.Title(parts.FullName!));
        Assert.Equal(Expected("organization"), parts.Organization is { } organization ? ModelNames.Title(organization) : null);
        Assert.Equal(Expected("basename"), parts.BaseName);
        Assert.Equal(Expected("finetune"), parts.FineTune);
        Assert.Equal(Expected("version"), parts.Version);
        Assert.Equal(Expected("size_label"), parts.SizeLabel);
    }

    [Theory]
    [MemberData(nameof(Labels))]
    public void Size_labels_are_the_reference_ones(string label, long parameters) => Assert.Equal(label, ModelNames.SizeLabel(parameters));

    private static TheoryData<string, long> Rows(string list, string text, string number, Func<JsonElement, string, string> read)
    {
        var rows = new TheoryData<string, long>();
        foreach (var row in Reference.GetProperty(list).EnumerateArray())
        {
            rows.Add(read(row, text), row.GetProperty(number).GetInt64());
        }

        return rows;
    }
}
