#include "json_rows.hpp"

#include <algorithm>

#include "json_cursor.hpp"

namespace mlrf {
namespace {

constexpr std::ptrdiff_t kMostTopDigits = 6;

bool read_value(JsonCursor& cursor, const JsonColumn& column, double& value) {
    if (takes_null(cursor, value)) return column.range.may_miss;
    if (column.is_boolean) {
        const bool is_true = cursor.takes("true");
        value = is_true ? 1.0 : 0.0;
        return is_true || cursor.takes("false");
    }
    return takes_number(cursor, value) && column.range.admits(value);
}

bool read_instance(JsonCursor& cursor, const std::vector<JsonColumn>& columns, bool by_name, double* row) {
    if (!cursor.takes('{') || !cursor.takes("\"features\"") || !cursor.takes(':')) return false;
    const bool is_array = cursor.takes('[');
    if (!is_array && !(by_name && cursor.takes('{'))) return false;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const JsonColumn& column = columns[i];
        if (i > 0 && !cursor.takes(',')) return false;
        if (!is_array && !(cursor.takes(column.name.data(), column.name.size()) && cursor.takes(':'))) return false;
        if (!read_value(cursor, column, row[i])) return false;
    }
    return cursor.takes(is_array ? ']' : '}') && cursor.takes('}');
}

// Read the option "explain", after its name: true, false, or a number of contributions from 1 on.
bool read_explain(JsonCursor& cursor, JsonExplain& explain) {
    if (!cursor.takes(':')) return false;
    explain = {};
    explain.is_requested = cursor.takes("true");
    if (explain.is_requested || cursor.takes("false")) return true;
    // More digits than any number of features has are left to the other parsers.
    const char* const last = cursor.at + std::min<std::ptrdiff_t>(kMostTopDigits, cursor.end - cursor.at);
    for (; cursor.at < last && *cursor.at >= '0' && *cursor.at <= '9'; ++cursor.at) {
        if (explain.is_requested && explain.top == 0) return false;  // no number begins with 0
        explain.is_requested = true;
        explain.top = 10 * explain.top + static_cast<unsigned>(*cursor.at - '0');
    }
    return explain.top > 0;
}

}  // namespace

std::size_t JsonRows::count(const char* begin, const char* end, std::size_t most_rows) const {
    // "instances" has a bracket; a row has one, or two braces.
    const std::ptrdiff_t brackets = std::count(begin, end, '[');
    const std::size_t n_rows = brackets > 1    ? static_cast<std::size_t>(brackets) - 1
                               : brackets == 1 ? static_cast<std::size_t>(std::count(begin, end, '{')) / 2
                                               : 0;
    // A value and its comma take two bytes.
    const std::size_t most_values = static_cast<std::size_t>(end - begin) / 2;
    return n_rows > most_rows || columns_.empty() || n_rows > most_values / columns_.size() ? 0 : n_rows;
}

bool JsonRows::read(const char* begin, const char* end, std::size_t n_rows, double* table, JsonExplain& explain) const {
    JsonCursor cursor{begin, end};
    explain = {};
    if (!cursor.takes('{')) return false;
    const bool is_first = cursor.takes("\"explain\"");
    if (is_first && !(read_explain(cursor, explain) && cursor.takes(','))) return false;
    if (!cursor.takes("\"instances\"") || !cursor.takes(':') || !cursor.takes('[')) return false;
    for (std::size_t row = 0; row < n_rows; ++row, table += columns_.size())
        if ((row > 0 && !cursor.takes(',')) || !read_instance(cursor, columns_, by_name_, table)) return false;
    if (!cursor.takes(']')) return false;
    if (!is_first && cursor.takes(',') && !(cursor.takes("\"explain\"") && read_explain(cursor, explain))) return false;
    return cursor.takes('}') && cursor.is_at_end();
}

}  // namespace mlrf
