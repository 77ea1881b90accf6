using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>A text; <paramref name="isRight"/> may narrow it.</summary>
internal sealed class TextRule(string expected, Func<string, bool>? isRight = null) : Rule<string>
{
    public override string Expected => expected;

    public override JsonObject Schema() => new() { ["type"] = "string" };

    public override JsonNode? Write(string value) => value is { Length: > 0 } ? JsonValue.Create(value) : null;

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out string value)
    {
        value = "";
        if (node?.GetValueKind() != JsonValueKind.String)
            return Fail(node, path, faults);
        value = node.GetValue<string>();
        return (isRight is null || isRight(value)) || Fail(node, path, faults);
    }
}

/// <summary>One of some words.</summary>
internal sealed class ChoiceRule<T>(params (string Word, T Value)[] choices) : Rule<T>
    where T : notnull
{
    public override string Expected => "one of " + string.Join(", ", choices.Select(c => $"\"{c.Word}\""));

    public override JsonObject Schema() => new() { ["enum"] = new JsonArray([.. choices.Select(c => JsonValue.Create(c.Word))]) };

    public override JsonNode? Write(T value) => Array.Find(choices, c => c.Value.Equals(value)).Word;

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out T value)
    {
        value = choices[0].Value;
        if (node?.GetValueKind() == JsonValueKind.String)
        {
            string word = node.GetValue<string>();
            foreach ((string candidate, T candidateValue) in choices)
            {
                if (candidate != word)
                    continue;
                value = candidateValue;
                return true;
            }
        }

        return Fail(node, path, faults);
    }
}

/// <summary>A whole number within limits.</summary>
internal sealed class IntegerRule(int min, int max) : Rule<int>
{
    public override string Expected => $"a whole number from {min} to {max}";

    public override JsonObject Schema() => new() { ["type"] = "integer", ["minimum"] = min, ["maximum"] = max };

    public override JsonNode FromText(string text) =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)
            ? JsonValue.Create(number)
            : JsonValue.Create(text);

    public override JsonNode? Write(int value) => JsonValue.Create(value);

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out int value)
    {
        value = 0;
        return (node is JsonValue number && number.GetValueKind() == JsonValueKind.Number && number.TryGetValue(out value)
            && value >= min && value <= max) || Fail(node, path, faults);
    }
}

/// <summary>true or false.</summary>
internal sealed class FlagRule : Rule<bool>
{
    public override string Expected => "true or false";

    public override JsonObject Schema() => new() { ["type"] = "boolean" };

    public override JsonNode FromText(string text) =>
        bool.TryParse(text, out bool flag) ? JsonValue.Create(flag) : JsonValue.Create(text);

    public override JsonNode? Write(bool value) => JsonValue.Create(value);

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out bool value)
    {
        value = node?.GetValueKind() == JsonValueKind.True;
        return value || node?.GetValueKind() == JsonValueKind.False || Fail(node, path, faults);
    }
}

/// <summary>A duration within limits.</summary>
internal sealed class DurationRule(TimeSpan min, TimeSpan max) : Rule<TimeSpan>
{
    public override string Expected =>
        $"a duration from {Quantities.Format(min)} to {Quantities.Format(max)}, such as \"250ms\", \"5s\", \"10m\" or \"7d\"";

    public override JsonObject Schema() => new() { ["type"] = "string", ["pattern"] = @"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$" };

    public override JsonNode? Write(TimeSpan value) => JsonValue.Create(Quantities.Format(value));

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out TimeSpan value)
    {
        value = default;
        return (node?.GetValueKind() == JsonValueKind.String && Quantities.TryParseDuration(node.GetValue<string>(), out value)
            && value >= min && value <= max) || Fail(node, path, faults);
    }
}

/// <summary>A size in bytes within limits.</summary>
internal sealed class SizeRule(long min, long max) : Rule<long>
{
    public override string Expected =>
        $"a size from {Quantities.FormatSize(min)} to {Quantities.FormatSize(max)}, such as \"512 KiB\" or \"8 MiB\"";

    public override JsonObject Schema() => new() { ["type"] = "string", ["pattern"] = @"^(0|[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB))$" };

    public override JsonNode? Write(long value) => JsonValue.Create(Quantities.FormatSize(value));

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out long value)
    {
        value = 0;
        return (node?.GetValueKind() == JsonValueKind.String && Quantities.TryParseSize(node.GetValue<string>(), out value)
            && value >= min && value <= max) || Fail(node, path, faults);
    }
}

/// <summary>A list; from text, JSON or values with commas between.</summary>
internal sealed class ListRule<T>(Rule<T> item, int countMax) : Rule<List<T>>
{
    public override string Expected => $"a list of up to {countMax}, each {item.Expected}";

    public override JsonObject Schema() => new() { ["type"] = "array", ["maxItems"] = countMax, ["items"] = item.Schema() };

    public override JsonNode FromText(string text)
    {
        if (!text.StartsWith('['))
            return new JsonArray([.. text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(item.FromText)]);
        // Reading what is no JSON says what would be right.
        return JsonText.Parse(text) ?? JsonValue.Create(text);
    }

    public override (Rule Rule, string Key)? Child(string segment) =>
        int.TryParse(segment, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < countMax
            ? (item, segment)
            : null;

    public override JsonNode? Write(List<T> value) => new JsonArray([.. value.Select(item.Write)]);

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out List<T> value)
    {
        value = [];
        if (node is not JsonArray array || array.Count > countMax)
            return Fail(node, path, faults);
        bool isRight = true;
        for (int i = 0; i < array.Count; i++)
        {
            isRight &= item.TryRead(array[i], $"{path}.{i}", faults, out T one);
            value.Add(one);
        }

        return isRight;
    }

    public override JsonNode? Rooted(JsonNode? node, string directory) => node is JsonArray array
        ? new JsonArray([.. array.Select(one => item.Rooted(one, directory))])
        : base.Rooted(node, directory);
}
