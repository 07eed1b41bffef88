// The Python classes that read rows of JSON (json_rows.hpp, json_tensor.hpp).
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "buffers.hpp"
#include "json_rows.hpp"
#include "json_tensor.hpp"

namespace mlrf {

class PythonJsonRows {
public:
    PythonJsonRows(const nb::sequence& columns, bool by_name, std::size_t most_rows) : rows_(columns_of(columns), by_name), most_rows_(most_rows) {}

    // The table of a plain batch and its option "explain"; None for any other body.
    nb::object read(nb::handle body) const {
        const Buffer buffer(body.ptr(), PyBUF_SIMPLE);
        const char* const begin = static_cast<const char*>(buffer.view().buf);
        const char* const end = begin + buffer.view().len;
        const std::size_t n_rows = rows_.count(begin, end, most_rows_);
        if (n_rows == 0) return nb::none();
        Answer table(n_rows * rows_.n_columns());
        JsonExplain explain;
        if (!rows_.read(begin, end, n_rows, table.data(), explain)) return nb::none();
        const nb::object option = explain.top > 0 ? nb::object(nb::int_(explain.top)) : nb::object(nb::bool_(explain.is_requested));
        return nb::make_tuple(table.release(), option);
    }

private:
    static std::vector<JsonColumn> columns_of(const nb::sequence& columns) {
        std::vector<JsonColumn> read;
        for (const nb::handle each : columns) {
            const nb::tuple column = nb::cast<nb::tuple>(each);
            if (column.size() != 6) throw nb::value_error("a column has a name, a least and a most number, and three flags");
            read.push_back({nb::cast<std::string>(column[0]),
                            {nb::cast<double>(column[1]), nb::cast<double>(column[2]), nb::cast<bool>(column[3]), nb::cast<bool>(column[4])},
                            nb::cast<bool>(column[5])});
        }
        return read;
    }

    JsonRows rows_;
    std::size_t most_rows_;
};

class PythonJsonTensor {
public:
    // `names` of the tensor and of outputs are JSON strings, each with an object for what is then requested.
    PythonJsonTensor(const nb::sequence& columns, const nb::sequence& names, const nb::sequence& outputs, std::size_t most_rows)
        : tensor_(columns_of(columns), names_of(names), names_of(outputs)),
          by_name_(requested_by(names)),
          by_output_(requested_by(outputs)),
          most_rows_(most_rows) {}

    // The object of the requested output, or else of the tensor, the number of rows, their table, the request's id, and whether the
    // answer is binary; None for any other body. The first `json_bytes` of the body are JSON, without them all.
    nb::object read(nb::handle body, std::optional<std::size_t> json_bytes) const {
        const Buffer buffer(body.ptr(), PyBUF_SIMPLE);
        const char* const begin = static_cast<const char*>(buffer.view().buf);
        const auto size_bytes = static_cast<std::size_t>(buffer.view().len);
        if (json_bytes.value_or(0) > size_bytes) return nb::none();
        const TensorBody parts{begin, begin + json_bytes.value_or(size_bytes), begin + size_bytes};
        JsonTensorHead head;
        if (!tensor_.read_head(parts, most_rows_, head)) return nb::none();
        Answer table(head.n_rows * tensor_.n_columns());
        if (!tensor_.read_rows(parts, head, table.data())) return nb::none();
        const nb::object& requested = head.output ? by_output_[*head.output] : by_name_[head.name];
        return nb::make_tuple(requested, head.n_rows, table.release(), nb::str(head.id.data(), head.id.size()), head.answers_in_binary());
    }

private:
    static std::vector<ValueRange> columns_of(const nb::sequence& columns) {
        std::vector<ValueRange> read;
        for (const nb::handle each : columns) {
            const nb::tuple column = nb::cast<nb::tuple>(each);
            if (column.size() != 4) throw nb::value_error("a column has a least and a most number, and two flags");
            read.push_back({nb::cast<double>(column[0]), nb::cast<double>(column[1]), nb::cast<bool>(column[2]), nb::cast<bool>(column[3])});
        }
        return read;
    }
    static std::vector<std::string> names_of(const nb::sequence& named) {
        std::vector<std::string> read;
        for (const nb::handle each : named) read.push_back(nb::cast<std::string>(pair_of(each)[0]));
        return read;
    }
    static std::vector<nb::object> requested_by(const nb::sequence& named) {
        std::vector<nb::object> read;
        for (const nb::handle each : named) read.push_back(nb::borrow(pair_of(each)[1]));
        return read;
    }
    static nb::tuple pair_of(nb::handle named) {
        const nb::tuple pair = nb::cast<nb::tuple>(named);
        if (pair.size() != 2) throw nb::value_error("a name has an object");
        return pair;
    }

    JsonTensor tensor_;
    std::vector<nb::object> by_name_, by_output_;
    std::size_t most_rows_;
};

}  // namespace mlrf
