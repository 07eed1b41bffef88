// Reads an infer request of the Open Inference Protocol with one tensor of numbers straight into a table of float64.
//
// Read is {"inputs": [{"name": …, "shape": [n, F], "datatype": "FP64" or "FP32", "data": […]}]}, the data last and flat or nested by
// row, and "id" before or after the inputs. What is not certain to be valid is left to the caller's other parsers.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlrf {

// What a column admits: numbers from least to most, only whole ones if is_whole, null if may_miss.
struct TensorColumn {
    double least, most;
    bool is_whole, may_miss;
};

struct JsonTensorHead {
    std::size_t name = 0;  // its index in the names of the reader
    std::size_t n_rows = 0;
    bool is_float32 = false;
    std::string_view id;  // in the body; empty without one
    const char* data = nullptr;  // where the numbers begin, after their bracket
};

class JsonTensor {
public:
    // `names` are those that the tensor may have, as JSON: with their quotes.
    JsonTensor(std::vector<TensorColumn> columns, std::vector<std::string> names)
        : columns_(std::move(columns)), names_(std::move(names)) {}

    std::size_t n_columns() const { return columns_.size(); }
    const std::vector<std::string>& names() const { return names_; }

    // Read what comes before the numbers; false if the request is certainly not such a one, or has more than `most_rows`.
    bool read_head(const char* begin, const char* end, std::size_t most_rows, JsonTensorHead& head) const;

    // Write the rows to `table`, and read the rest; false if the request is not certain to be valid.
    bool read_rows(const char* end, JsonTensorHead& head, double* table) const;

private:
    std::vector<TensorColumn> columns_;
    std::vector<std::string> names_;
};

}  // namespace mlrf
