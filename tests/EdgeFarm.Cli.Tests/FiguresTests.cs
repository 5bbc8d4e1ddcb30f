using EdgeFarm.Cli.Output;
using EdgeFarm.Contracts.V1;

namespace EdgeFarm.Cli.Tests;

public sealed class FiguresTests
{
    [Theory]
    [InlineData(0, "0 B")]
    [InlineData(999, "999 B")]
    [InlineData(11685536, "11.1 MiB")]
    [InlineData(5e12, "4.55 TiB")]
    public void Bytes_have_three_digits(double bytes, string expected) => Assert.Equal(expected, Figures.Bytes(bytes));

    [Theory]
    [InlineData(0.00042, "420 us")]
    [InlineData(0.0123, "12.3 ms")]
    [InlineData(2.5, "2.50 s")]
    public void Seconds_have_a_fitting_unit(double seconds, string expected) => Assert.Equal(expected, Figures.Seconds(seconds));

    [Theory]
    [InlineData("90", 90)]
    [InlineData("90s", 90)]
    [InlineData("5m", 300)]
    [InlineData("1.5h", 5400)]
    public void Durations_are_read(string text, double seconds) => Assert.Equal(TimeSpan.FromSeconds(seconds), Figures.ReadDuration(text));

    [Theory]
    [InlineData("")]
    [InlineData("soon")]
    [InlineData("-5s")]
    [InlineData("5d")]
    public void What_is_no_duration_is_none(string text) => Assert.Null(Figures.ReadDuration(text));

    [Theory]
    [InlineData("OutOfMemory", FailureType.OutOfMemory)]
    [InlineData("out_of_memory", FailureType.OutOfMemory)]
    [InlineData("crashed", FailureType.Crashed)]
    public void Failure_types_are_read_in_any_spelling(string word, FailureType expected) => Assert.Equal(expected, Words.FailureTypeOf(word));

    [Theory]
    [InlineData("Unspecified")]
    [InlineData("x")]
    public void What_is_no_failure_type_is_none(string word) => Assert.Null(Words.FailureTypeOf(word));
}
