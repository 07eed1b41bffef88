// Reads rows from the JSON of a plain batch straight into a table of float64: no object is made for a number.
//
// A batch is plain if it is {"instances": [{"features": [...]}, ...]}: each row an array in schema order, or an object whose members
// are the features in that order, spelled as in the schema. It may have one option, "explain", before or after the instances. What is not certain to be valid is left to the
// caller's other parsers: `read` then returns false. It must agree with src/mlrf/core/value_rules.py, which names the other readers.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "json_value.hpp"

namespace mlrf {

struct JsonColumn {
    std::string name;  // as JSON: with its quotes
    ValueRange range;
    bool is_boolean;  // true and false are admitted, and no number
};

// Whether the rows are to be explained, and with how many of the largest contributions: 0 for all of them.
struct JsonExplain {
    bool is_requested = false;
    unsigned top = 0;
};

class JsonRows {
public:
    // Without `by_name`, rows by name are left to the other parsers.
    JsonRows(std::vector<JsonColumn> columns, bool by_name) : columns_(std::move(columns)), by_name_(by_name) {}

    std::size_t n_columns() const { return columns_.size(); }

    // The number of rows that a plain batch has; 0 if it has none or more than `most_rows`, or is certainly not plain.
    std::size_t count(const char* begin, const char* end, std::size_t most_rows) const;

    // Write n_rows rows to `table`, and the option; false if the batch is not certain to have exactly these.
    bool read(const char* begin, const char* end, std::size_t n_rows, double* table, JsonExplain& explain) const;

private:
    std::vector<JsonColumn> columns_;
    bool by_name_;
};

}  // namespace mlrf
