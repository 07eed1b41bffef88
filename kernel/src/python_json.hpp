// The Python class that reads plain batches of JSON (json_rows.hpp).
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <string>
#include <vector>

#include "buffers.hpp"
#include "json_rows.hpp"

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
        const nb::object option = explain.top > 0 ? nb::object(nb::int_(explain.top)) : nb::object(nb::bool_(explain.is_wanted));
        return nb::make_tuple(table.release(), option);
    }

private:
    static std::vector<JsonColumn> columns_of(const nb::sequence& columns) {
        std::vector<JsonColumn> read;
        for (const nb::handle each : columns) {
            const nb::tuple column = nb::cast<nb::tuple>(each);
            if (column.size() != 6) throw nb::value_error("a column has a name, a least and a most number, and three flags");
            read.push_back({nb::cast<std::string>(column[0]), nb::cast<double>(column[1]), nb::cast<double>(column[2]),
                            nb::cast<bool>(column[3]), nb::cast<bool>(column[4]), nb::cast<bool>(column[5])});
        }
        return read;
    }

    JsonRows rows_;
    std::size_t most_rows_;
};

}  // namespace mlrf
