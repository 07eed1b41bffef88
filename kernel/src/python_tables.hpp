// Functions of the Python module over the bytes of a request: tables of values, Arrow's record batches, protobuf messages.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "buffers.hpp"
#include "record_columns.hpp"
#include "rule_table.hpp"
#include "typed_columns.hpp"
#include "wire_counts.hpp"

namespace mlrf {

// The index of the first value of a float64 table that its column's rule does not admit; None if all are admitted.
inline nb::object first_refused(nb::handle rows, nb::handle rules) {
    const Buffer table(rows.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS), listed(rules.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS);
    std::vector<unsigned char> aligned_rows, aligned_rules;
    const Numbers values = read_numbers(rows.ptr(), table.view(), aligned_rows);
    const Numbers limits = read_numbers(rules.ptr(), listed.view(), aligned_rules);
    constexpr std::size_t rule_numbers = sizeof(ValueRule) / sizeof(double);
    if (values.is_float32 || limits.is_float32) throw nb::type_error("rows and rules must hold float64 numbers");
    if (limits.count == 0 || limits.count % rule_numbers != 0) throw nb::value_error("each rule must have 4 numbers");
    const std::size_t n_columns = limits.count / rule_numbers;
    if (values.count % n_columns != 0) throw nb::value_error("the last row is incomplete");
    std::size_t position = 0;
    {
        const nb::gil_scoped_release released;
        position = first_outside(static_cast<const unsigned char*>(values.values), values.count / n_columns,
                                    static_cast<const ValueRule*>(limits.values), n_columns);
    }
    if (position == values.count) return nb::none();
    return nb::int_(position);
}

// Write the columns of a record batch into a float64 table; false where it is not certainly valid.
inline bool fill_record_buffers(nb::handle body, nb::handle nodes, nb::handle buffers, nb::handle columns, nb::handle table, std::size_t n_rows) {
    const Buffer whole(body.ptr(), PyBUF_SIMPLE), listed(nodes.ptr(), PyBUF_SIMPLE), located(buffers.ptr(), PyBUF_SIMPLE);
    const Buffer planned(columns.ptr(), PyBUF_SIMPLE), target(table.ptr(), PyBUF_WRITABLE);
    const auto size = [](const Buffer& buffer) { return static_cast<std::size_t>(buffer.view().len); };
    const std::size_t n_nodes = size(listed) / sizeof(RecordNode), n_buffers = size(located) / sizeof(RecordBuffer);
    const std::size_t n_columns = size(planned) / sizeof(RecordColumn), n_values = size(target) / sizeof(double);
    if (n_rows == 0 || n_values % n_rows != 0) throw nb::value_error("the table does not have so many rows");
    // Copies are aligned; what they hold is short.
    std::vector<RecordNode> node_list(n_nodes);
    std::vector<RecordBuffer> buffer_list(n_buffers);
    std::vector<RecordColumn> column_list(n_columns);
    if (n_nodes > 0) std::memcpy(node_list.data(), listed.view().buf, n_nodes * sizeof(RecordNode));
    if (n_buffers > 0) std::memcpy(buffer_list.data(), located.view().buf, n_buffers * sizeof(RecordBuffer));
    if (n_columns > 0) std::memcpy(column_list.data(), planned.view().buf, n_columns * sizeof(RecordColumn));
    const RecordBatch batch{static_cast<const unsigned char*>(whole.view().buf), size(whole), node_list.data(), n_nodes,
                                  buffer_list.data(), n_buffers};
    return fill_records(batch, column_list.data(), n_columns, n_rows, static_cast<double*>(target.view().buf), n_values / n_rows);
}

// Write columns of numbers into a float64 table; the indices of the columns that hold a number which their rule does not admit.
inline nb::list fill_typed_columns(const nb::sequence& columns, nb::handle rules, nb::handle table, std::size_t n_rows) {
    const Buffer listed(rules.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS), target(table.ptr(), PyBUF_WRITABLE);
    std::vector<unsigned char> aligned_rules;
    const Numbers limits = read_numbers(rules.ptr(), listed.view(), aligned_rules);
    const std::size_t n_values = static_cast<std::size_t>(target.view().len) / sizeof(double);
    constexpr std::size_t rule_numbers = sizeof(ValueRule) / sizeof(double);
    if (limits.is_float32 || limits.count == 0 || limits.count % rule_numbers != 0)
        throw nb::value_error("each rule must have 4 float64 numbers");
    const std::size_t width = limits.count / rule_numbers;
    if (n_rows == 0 || n_values / width != n_rows || n_values % width != 0)
        throw nb::value_error("the table does not have so many rows, of a number for each rule");
    std::vector<std::unique_ptr<Buffer>> pinned;
    const auto opened = [&](nb::handle object) -> const Py_buffer& {
        pinned.push_back(std::make_unique<Buffer>(object.ptr(), PyBUF_SIMPLE));
        return pinned.back()->view();
    };
    std::vector<TypedColumn> found;
    for (nb::handle each : columns) {
        const auto column = nb::cast<nb::tuple>(each);
        const Py_buffer& data = opened(column[2]);
        TypedColumn made{nb::cast<std::uint32_t>(column[0]), nb::cast<std::size_t>(column[1]), static_cast<const unsigned char*>(data.buf),
                         static_cast<std::size_t>(data.len), nullptr, 0, nb::cast<std::size_t>(column[4])};
        if (!column[3].is_none()) {
            const Py_buffer& validity = opened(column[3]);
            made.validity = static_cast<const unsigned char*>(validity.buf);
            made.validity_bytes = static_cast<std::size_t>(validity.len);
        }
        if (!holds_rows(made, n_rows, width)) throw nb::value_error("a column is of an unknown type, or too short for the table");
        found.push_back(made);
    }
    std::vector<bool> admitted;
    {
        const nb::gil_scoped_release released;
        admitted = fill_typed(found, static_cast<const ValueRule*>(limits.values), n_rows, static_cast<double*>(target.view().buf), width);
    }
    nb::list refused;
    for (std::size_t c = 0; c < admitted.size(); ++c)
        if (!admitted[c]) refused.append(c);
    return refused;
}

// The numbers of inputs, outputs, parameters, raw contents, dimensions, numbers, texts and fields of a ModelInferRequest, up to
// the first field beyond `most_fields`.
inline nb::tuple count_wire(const nb::bytes& message, std::size_t most_fields) {
    WireCounts n;
    const auto* begin = static_cast<const unsigned char*>(message.data());
    const std::size_t size = message.size();
    {
        const nb::gil_scoped_release released;
        WireCounter(n, most_fields).request(begin, begin + size);
    }
    return nb::make_tuple(n.inputs, n.outputs, n.parameters, n.raw, n.dimensions, n.numbers, n.texts, n.fields);
}

}  // namespace mlrf
