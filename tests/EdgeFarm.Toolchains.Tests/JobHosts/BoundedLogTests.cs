using System.Text;
using CsCheck;
using EdgeFarm.Toolchains.JobHosts.Worker;

namespace EdgeFarm.Toolchains.Tests.JobHosts;

public sealed class BoundedLogTests
{
    [Fact]
    public void It_keeps_the_first_quarter_and_the_last_three() =>
        Gen.Select(Gen.Int[4, 64], Gen.Byte.Array[0, 40].Array[0, 20]).Sample((bound, pieces) =>
        {
            var log = new BoundedLog(bound);
            foreach (var piece in pieces)
            {
                log.Append(piece);
            }

            var all = pieces.SelectMany(p => p).ToArray();
            var kept = log.ToArray();
            if (all.Length <= bound)
            {
                Assert.Equal(all, kept);
                return;
            }

            Assert.Equal(all[..(bound / 4)], kept[..(bound / 4)]);
            var tail = bound - (bound / 4);
            Assert.Equal(all[^tail..], kept[^tail..]);
            Assert.Contains($"[... {all.Length - bound} bytes left out ...]", Encoding.Latin1.GetString(kept));
        });

    [Fact]
    public void A_logged_line_never_continues_a_printed_one()
    {
        var log = new BoundedLog(1000);
        log.Append("half"u8);
        log.AppendLine("line");

        Assert.Equal("half\nline\n", Encoding.UTF8.GetString(log.ToArray()));
    }

    [Fact]
    public void Last_lines_are_whole_clean_and_bounded()
    {
        var log = new BoundedLog(1 << 16);
        for (var i = 0; i < 4000; i++)
        {
            log.AppendLine($"line {i} \u001b[31mred\u001b[0m");
        }

        var last = log.LastLines();
        Assert.InRange(last.Length, 4000, Core.Jobs.Failure.MaxLogTail);
        Assert.StartsWith("line ", last);
        Assert.EndsWith("line 3999  [31mred [0m", last);
        Assert.DoesNotContain('\u001b', last);
    }

    [Fact]
    public void Last_lines_of_a_short_log_are_all_of_it()
    {
        var log = new BoundedLog(64);
        log.AppendLine("first");
        log.AppendLine("second, beyond the head of sixteen bytes");

        Assert.Equal("first\nsecond, beyond the head of sixteen bytes", log.LastLines());
    }
}
