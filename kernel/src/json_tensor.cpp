#include "json_tensor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

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

bool read_flag(JsonCursor& cursor, std::optional<bool>& flag) {
    if (!cursor.takes(':')) return false;
    flag = cursor.takes("true");
    return *flag || cursor.takes("false");
}

// Read one of `names`; its index in them.
bool read_name(JsonCursor& cursor, const std::vector<std::string>& names, std::size_t& index) {
    if (!cursor.takes(':')) return false;
    const auto named = [&](const std::string& name) { return cursor.takes(name.data(), name.size()); };
    const auto found = std::find_if(names.begin(), names.end(), named);
    index = static_cast<std::size_t>(found - names.begin());
    return found != names.end();
}

bool read_value(JsonCursor& cursor, const ValueRange& column, bool is_float32, double& value) {
    if (takes_null(cursor, value)) return column.may_miss;
    if (!takes_number(cursor, value)) return false;
    if (is_float32) {
        value = static_cast<double>(static_cast<float>(value));
        if (std::isinf(value)) return false;
    }
    return column.admits(value);
}

}  // namespace

// Read a member of the request other than its inputs.
bool JsonTensor::read_member(JsonCursor& cursor, JsonTensorHead& head) const {
    if (head.id.empty() && cursor.takes("\"id\"")) return read_id(cursor, head.id) && !head.id.empty();
    if (!head.all_are_binary && cursor.takes("\"parameters\""))
        return cursor.takes(':') && cursor.takes('{') && cursor.takes("\"binary_data_output\"") && read_flag(cursor, head.all_are_binary) &&
               cursor.takes('}');
    if (!head.output && cursor.takes("\"outputs\""))
        return cursor.takes(':') && cursor.takes('[') && read_output(cursor, head) && cursor.takes(']');
    return false;
}

bool JsonTensor::read_output(JsonCursor& cursor, JsonTensorHead& head) const {
    std::size_t output = 0;
    if (!cursor.takes('{') || !cursor.takes("\"name\"") || !read_name(cursor, outputs_, output)) return false;
    head.output = output;
    if (!cursor.takes(',')) return cursor.takes('}');
    return cursor.takes("\"parameters\"") && cursor.takes(':') && cursor.takes('{') && cursor.takes("\"binary_data\"") &&
           read_flag(cursor, head.output_is_binary) && cursor.takes('}') && cursor.takes('}');
}

// Read the tensor up to its numbers, or all of it if they follow the JSON.
bool JsonTensor::read_tensor_head(JsonCursor& cursor, std::size_t& n_columns, std::size_t& n_bytes, JsonTensorHead& head) const {
    bool has_name = false, has_shape = false, has_datatype = false;
    const auto is_complete = [&] { return has_name && has_shape && has_datatype; };
    while (!cursor.takes("\"data\"")) {
        if (!has_name && cursor.takes("\"name\"")) {
            if (!read_name(cursor, names_, head.name)) return false;
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
        } else if (n_bytes == 0 && cursor.takes("\"parameters\"")) {
            if (!cursor.takes(':') || !cursor.takes('{') || !cursor.takes("\"binary_data_size\"") || !cursor.takes(':') ||
                !read_dimension(cursor, n_bytes) || !cursor.takes('}'))
                return false;
        } else {
            return false;
        }
        if (cursor.takes(',')) continue;
        head.rest = cursor.at;
        return n_bytes > 0 && is_complete() && cursor.takes('}');
    }
    if (n_bytes > 0 || !is_complete() || !cursor.takes(':') || !cursor.takes('[')) return false;
    head.data = cursor.at;
    return true;
}

bool JsonTensor::read_head(const TensorBody& body, std::size_t most_rows, JsonTensorHead& head) const {
    JsonCursor cursor{body.begin, body.end};
    head = {};
    if (!cursor.takes('{')) return false;
    while (!cursor.takes("\"inputs\""))
        if (!read_member(cursor, head) || !cursor.takes(',')) return false;
    std::size_t n_columns = 0, n_bytes = 0;
    if (!cursor.takes(':') || !cursor.takes('[') || !cursor.takes('{') || !read_tensor_head(cursor, n_columns, n_bytes, head)) return false;
    if (n_columns != columns_.size() || n_columns == 0 || head.n_rows > most_rows) return false;
    const auto n_following = static_cast<std::size_t>(body.bytes_end - body.end);
    if (head.data == nullptr) {
        const std::size_t row_bytes = n_columns * (head.is_float32 ? sizeof(float) : sizeof(double));
        return n_bytes == n_following && n_bytes % row_bytes == 0 && n_bytes / row_bytes == head.n_rows;
    }
    // A value and its comma take two bytes.
    return n_following == 0 && head.n_rows <= static_cast<std::size_t>(body.end - head.data) / 2 / n_columns;
}

bool JsonTensor::read_values(JsonCursor& cursor, const JsonTensorHead& head, double* table) const {
    const bool is_nested = cursor.takes('[');
    for (std::size_t row = 0; row < head.n_rows; ++row) {
        if (row > 0 && !(cursor.takes(',') && (!is_nested || cursor.takes('[')))) return false;
        for (std::size_t i = 0; i < columns_.size(); ++i, ++table) {
            if (i > 0 && !cursor.takes(',')) return false;
            if (!read_value(cursor, columns_[i], head.is_float32, *table)) return false;
        }
        if (is_nested && !cursor.takes(']')) return false;
    }
    return cursor.takes(']');
}

template <typename Number>
bool JsonTensor::read_bytes(const char* bytes, const JsonTensorHead& head, double* table) const {
    for (std::size_t row = 0; row < head.n_rows; ++row) {
        for (const ValueRange& column : columns_) {
            Number number;
            std::memcpy(&number, bytes, sizeof(Number));
            bytes += sizeof(Number);
            *table = static_cast<double>(number);
            if (std::isnan(*table) ? !column.may_miss : !column.admits(*table)) return false;
            ++table;
        }
    }
    return true;
}

bool JsonTensor::read_rows(const TensorBody& body, JsonTensorHead& head, double* table) const {
    JsonCursor cursor{head.data == nullptr ? head.rest : head.data, body.end};
    if (head.data != nullptr ? !read_values(cursor, head, table)
                             : head.is_float32 ? !read_bytes<float>(body.end, head, table) : !read_bytes<double>(body.end, head, table))
        return false;
    if (!cursor.takes('}') || !cursor.takes(']')) return false;
    while (cursor.takes(','))
        if (!read_member(cursor, head)) return false;
    return cursor.takes('}') && cursor.is_at_end();
}

}  // namespace mlrf
