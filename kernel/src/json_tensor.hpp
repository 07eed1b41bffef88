// Reads an infer request of the Open Inference Protocol with one tensor of numbers straight into a table of float64.
//
// Read is {"inputs": [{"name": …, "shape": [n, F], "datatype": "FP64" or "FP32", "data": […]}]}, the data last and flat or nested by
// row, or "parameters": {"binary_data_size": …} in its place and the numbers as bytes after the JSON. Before or after the inputs may
// be "id", one output with or without "binary_data", and "parameters" with "binary_data_output". What is not certain to be valid is
// left to the caller's other parsers.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_cursor.hpp"
#include "json_value.hpp"

namespace mlrf {

struct JsonTensorHead {
    std::size_t name = 0;  // its index in the names of the reader
    std::size_t n_rows = 0;
    bool is_float32 = false;
    std::string_view id;  // in the body; empty without one
    std::optional<std::size_t> output;  // the requested output's index in the names of the reader
    std::optional<bool> output_is_binary, all_are_binary;
    const char* data = nullptr;  // where the numbers begin, after their bracket; nullptr for bytes after the JSON
    const char* rest = nullptr;  // where the JSON goes on then

    bool answers_in_binary() const { return output_is_binary.value_or(all_are_binary.value_or(false)); }
};

// The two parts of a body: JSON, and the bytes that follow it.
struct TensorBody {
    const char *begin, *end, *bytes_end;
};

class JsonTensor {
public:
    // `names` are those that the tensor may have, `outputs` those that may be requested, as JSON: with their quotes.
    JsonTensor(std::vector<ValueRange> columns, std::vector<std::string> names, std::vector<std::string> outputs)
        : columns_(std::move(columns)), names_(std::move(names)), outputs_(std::move(outputs)) {}

    std::size_t n_columns() const { return columns_.size(); }

    // Read what comes before the numbers; false if the request is certainly not such a one, or has more than `most_rows`.
    bool read_head(const TensorBody& body, std::size_t most_rows, JsonTensorHead& head) const;

    // Write the rows to `table`, and read the rest; false if the request is not certain to be valid.
    bool read_rows(const TensorBody& body, JsonTensorHead& head, double* table) const;

private:
    bool read_tensor_head(JsonCursor& cursor, std::size_t& n_columns, std::size_t& n_bytes, JsonTensorHead& head) const;
    bool read_member(JsonCursor& cursor, JsonTensorHead& head) const;
    bool read_output(JsonCursor& cursor, JsonTensorHead& head) const;
    bool read_values(JsonCursor& cursor, const JsonTensorHead& head, double* table) const;
    template <typename Number>
    bool read_bytes(const char* bytes, const JsonTensorHead& head, double* table) const;

    std::vector<ValueRange> columns_;
    std::vector<std::string> names_, outputs_;
};

}  // namespace mlrf
