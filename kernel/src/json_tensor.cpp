#include "json_tensor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "integers.hpp"
#include "json_cursor.hpp"
#include "json_number.hpp"

namespace mlrf {
namespace {

constexpr std::ptrdiff_t kMostDigits = 9;
constexpr std::ptrdiff_t kMostIdBytes = 256;

// Read a number of rows or columns.
bool read_dimension(JsonCursor& cursor, std::size_t& dimension) {
    cursor.skip_space();
    dimension = 0;
    if (cursor.at < cursor.end && *cursor.at == '0') return false;  // no rows, or no JSON
    const char* const last = cursor.at + std::min(kMostDigits, cursor.end - cursor.at);
    for (; cursor.at < last && *cursor.at >= '0' && *cursor.at <= '9'; ++cursor.at)
        dimension = 10 * dimension + static_cast<std::size_t>(*cursor.at - '0');
    return dimension > 0 && !(cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '9');
}

// Read a string of printable ASCII without escapes.
bool read_id(JsonCursor& cursor, std::string_view& id) {
    if (!cursor.takes(':') || !cursor.takes('"')) return false;
    const char* const begin = cursor.at;
    const char* const last = begin + std::min(kMostIdBytes, cursor.end - begin);
    while (cursor.at < last && *cursor.at >= ' ' && *cursor.at <= '~' && *cursor.at != '"' && *cursor.at != '\\') ++cursor.at;
    id = {begin, static_cast<std::size_t>(cursor.at - begin)};
    return cursor.at < cursor.end && *cursor.at++ == '"';
}

bool read_value(JsonCursor& cursor, const TensorColumn& column, bool is_float32, double& value) {
    cursor.skip_space();
    if (cursor.at < cursor.end && *cursor.at == 'n') {
        value = std::numeric_limits<double>::quiet_NaN();
        return column.may_miss && cursor.takes("null");
    }
    const char* const stopped = read_json_number(cursor.at, cursor.end, value);
    if (stopped == nullptr) return false;
    if (is_float32) {
        value = static_cast<double>(static_cast<float>(value));
        if (std::isinf(value)) return false;
    }
    cursor.at = stopped;
    return value >= column.least && value <= column.most && !(column.is_whole && !is_integer(value));
}

}  // namespace

bool JsonTensor::read_head(const char* begin, const char* end, std::size_t most_rows, JsonTensorHead& head) const {
    JsonCursor cursor{begin, end};
    if (!cursor.takes('{')) return false;
    head.id = {};
    if (cursor.takes("\"id\"") && !(read_id(cursor, head.id) && !head.id.empty() && cursor.takes(','))) return false;
    if (!cursor.takes("\"inputs\"") || !cursor.takes(':') || !cursor.takes('[') || !cursor.takes('{')) return false;
    bool has_name = false, has_shape = false, has_datatype = false;
    std::size_t n_columns = 0;
    while (!cursor.takes("\"data\"")) {
        if (!has_name && cursor.takes("\"name\"")) {
            if (!cursor.takes(':')) return false;
            const auto named = [&](const std::string& name) { return cursor.takes(name.data(), name.size()); };
            const auto found = std::find_if(names_.begin(), names_.end(), named);
            if (found == names_.end()) return false;
            head.name = static_cast<std::size_t>(found - names_.begin());
            has_name = true;
        } else if (!has_shape && cursor.takes("\"shape\"")) {
            if (!cursor.takes(':') || !cursor.takes('[') || !read_dimension(cursor, head.n_rows) || !cursor.takes(',') ||
                !read_dimension(cursor, n_columns) || !cursor.takes(']'))
                return false;
            has_shape = true;
        } else if (!has_datatype && cursor.takes("\"datatype\"")) {
            if (!cursor.takes(':')) return false;
            head.is_float32 = cursor.takes("\"FP32\"");
            if (!head.is_float32 && !cursor.takes("\"FP64\"")) return false;
            has_datatype = true;
        } else {
            return false;
        }
        if (!cursor.takes(',')) return false;
    }
    if (!has_name || !has_shape || !has_datatype || !cursor.takes(':') || !cursor.takes('[')) return false;
    head.data = cursor.at;
    // A value and its comma take two bytes.
    const std::size_t most_values = static_cast<std::size_t>(end - cursor.at) / 2;
    return n_columns == columns_.size() && n_columns > 0 && head.n_rows <= most_rows && head.n_rows <= most_values / n_columns;
}

bool JsonTensor::read_rows(const char* end, JsonTensorHead& head, double* table) const {
    JsonCursor cursor{head.data, end};
    const bool is_nested = cursor.takes('[');
    for (std::size_t row = 0; row < head.n_rows; ++row) {
        if (row > 0 && !(cursor.takes(',') && (!is_nested || cursor.takes('[')))) return false;
        for (std::size_t i = 0; i < columns_.size(); ++i, ++table) {
            if (i > 0 && !cursor.takes(',')) return false;
            if (!read_value(cursor, columns_[i], head.is_float32, *table)) return false;
        }
        if (is_nested && !cursor.takes(']')) return false;
    }
    if (!cursor.takes(']') || !cursor.takes('}') || !cursor.takes(']')) return false;
    if (head.id.empty() && cursor.takes(',') && !(cursor.takes("\"id\"") && read_id(cursor, head.id))) return false;
    return cursor.takes('}') && cursor.is_at_end();
}

}  // namespace mlrf
