using System.Collections;
using System.Globalization;
using System.Reflection;
using System.Text;

namespace EdgeFarm.Actors.Tests.Projections;

/// <summary>Writes a value with all its public members as text, so that tests can compare values whose collections compare by reference.</summary>
internal static class Documents
{
    public static string Describe(object? value)
    {
        var text = new StringBuilder();
        Write(value, text, 0);
        return text.ToString();
    }

    private static void Write(object? value, StringBuilder text, int depth)
    {
        Assert.True(depth < 30, "a value that contains itself");
        switch (value)
        {
            case null:
                text.Append("null");
                break;
            case string or bool or Enum or TimeSpan or EdgeFarm.Core.Artifacts.Digest or EdgeFarm.Core.Fleet.PropertyValue:
                text.Append('"').Append(value).Append('"');
                break;
            case DateTimeOffset time:
                text.Append(time.UtcTicks);
                break;
            case IFormattable number when value.GetType().IsPrimitive:
                text.Append(number.ToString(null, CultureInfo.InvariantCulture));
                break;
            case IEnumerable items:
                text.Append('[');
                foreach (var item in items)
                {
                    Write(item, text, depth + 1);
                    text.Append(',');
                }

                text.Append(']');
                break;
            default:
                text.Append(value.GetType().Name).Append('{');
                foreach (var property in value.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.GetIndexParameters().Length == 0))
                {
                    text.Append(property.Name).Append('=');
                    Write(property.GetValue(value), text, depth + 1);
                    text.Append(';');
                }

                text.Append('}');
                break;
        }
    }
}
