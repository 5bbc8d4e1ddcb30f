using System.Buffers.Binary;
using System.Text;
using CsCheck;
using EdgeFarm.Toolchains.JobHosts.Wire;

namespace EdgeFarm.Toolchains.Tests.JobHosts;

public sealed class MessageFramesTests
{
    private static ValueTask<JobHostMessage?> ReadAsync(byte[] bytes) =>
        MessageFrames.ReadAsync(new MemoryStream(bytes), JobHostJson.Default.JobHostMessage, default);

    [Fact]
    public async Task Messages_follow_each_other_on_a_stream()
    {
        JobHostMessage[] messages = [new JobHostMessage.Hello("t", 1), new JobHostMessage.Progressed(0.5, "half"), new JobHostMessage.Logged("größe\n")];
        var stream = new MemoryStream([.. messages.SelectMany(m => MessageFrames.Encode(m, JobHostJson.Default.JobHostMessage))]);

        foreach (var message in messages)
        {
            Assert.Equal(message, await MessageFrames.ReadAsync(stream, JobHostJson.Default.JobHostMessage, default));
        }

        Assert.Null(await MessageFrames.ReadAsync(stream, JobHostJson.Default.JobHostMessage, default));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(MessageFrames.MaxBytes + 1)]
    [InlineData(int.MaxValue)]
    public async Task A_length_out_of_bounds_is_refused_before_memory_is_taken(int length)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, length);

        await Assert.ThrowsAsync<InvalidDataException>(() => ReadAsync(bytes).AsTask());
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("[")]
    [InlineData("""{"type":"unknown"}""")]
    [InlineData("""{"type":"progress","Fraction":"x"}""")]
    public async Task What_is_no_message_is_invalid(string json)
    {
        var body = Encoding.UTF8.GetBytes(json);
        var bytes = new byte[4 + body.Length];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, body.Length);
        body.CopyTo(bytes, 4);

        await Assert.ThrowsAsync<InvalidDataException>(() => ReadAsync(bytes).AsTask());
    }

    [Fact]
    public void Any_bytes_end_in_a_message_or_a_typed_exception() =>
        Gen.Byte.Array[0, 200].Sample(bytes =>
        {
            try
            {
                _ = ReadAsync(bytes).AsTask().GetAwaiter().GetResult();
            }
            catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
            {
            }
        });
}
