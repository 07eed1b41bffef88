// Reads rows that are lists, tuples or dicts of Python values into a table, so that Python runs no code for each value.
//
// What is not certain to be valid is left to the caller, row by row. It must agree with src/mlrf/core/value_rules.py, which names
// the other readers.
#pragma once

#include <nanobind/nanobind.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "buffers.hpp"
#include "columns.hpp"

namespace mlrf {

// A feature: numbers that its rule admits, if it takes numbers; true and false, if it is boolean; and the strings of `codes`.
struct InstanceColumn {
    nb::object name;
    ValueRule rule;
    bool takes_numbers, is_boolean;
    nb::object codes;  // {string: float}, or None
};

class InstanceRows {
public:
    explicit InstanceRows(const nb::sequence& columns) {
        for (const nb::handle each : columns) {
            const nb::tuple column = nb::cast<nb::tuple>(each);
            if (column.size() != 8) throw nb::value_error("a column has a name, 4 numbers of its rule, 2 flags and codes");
            const auto number = [&](std::size_t index) { return nb::cast<double>(column[index]); };
            columns_.push_back({nb::borrow(column[0]), ValueRule{number(1), number(2), number(3), number(4)}, nb::cast<bool>(column[5]),
                                nb::cast<bool>(column[6]), nb::borrow(column[7])});
            if (!column[7].is_none() && !PyDict_CheckExact(column[7].ptr())) throw nb::type_error("codes are a dict, or None");
        }
    }

    // Write rows, a list or tuple, to `table`; the numbers of the rows that are left.
    nb::list read(nb::handle rows, nb::handle table) const {
        PyObject* const object = rows.ptr();
        const bool is_tuple = PyTuple_CheckExact(object);  // a subclass may make its rows when it is iterated
        if (!is_tuple && !PyList_CheckExact(object)) throw nb::type_error("rows are a list or a tuple");
        const Buffer target(table.ptr(), PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS);
        const std::size_t n_rows = static_cast<std::size_t>(is_tuple ? PyTuple_Size(object) : PyList_Size(object));
        if (static_cast<std::size_t>(target.view().len) != n_rows * columns_.size() * sizeof(double))
            throw nb::value_error("the table does not have so many rows of so many float64");
        double* out = static_cast<double*>(target.view().buf);
        nb::list left;
        for (std::size_t row = 0; row < n_rows; ++row, out += columns_.size()) {
            const auto at = static_cast<Py_ssize_t>(row);
            // Comparing the keys of a dict may run code that changes the list.
            const nb::object instance = nb::borrow(checked(is_tuple ? PyTuple_GetItem(object, at) : PyList_GetItem(object, at)));
            if (!read_row(instance.ptr(), out)) left.append(row);
        }
        return left;
    }

    // The same for an array of objects [n, F] in C order.
    nb::list read_array(nb::handle rows, nb::handle table) const {
        const Buffer given(rows.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS), target(table.ptr(), PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS);
        const Py_buffer& view = given.view();
        if (view.format == nullptr || std::strcmp(view.format, "O") != 0) throw nb::type_error("rows are an array of objects");
        const std::size_t n_values = static_cast<std::size_t>(view.len) / sizeof(PyObject*);
        if (columns_.empty() || n_values % columns_.size() != 0 || static_cast<std::size_t>(target.view().len) != n_values * sizeof(double))
            throw nb::value_error("the table does not have so many rows of so many float64");
        PyObject* const* value = static_cast<PyObject* const*>(view.buf);
        double* out = static_cast<double*>(target.view().buf);
        nb::list left;
        for (std::size_t row = 0; row < n_values / columns_.size(); ++row) {
            bool is_read = true;
            // An array that was never filled has null pointers.
            for (std::size_t index = 0; index < columns_.size() && is_read; ++index)
                is_read = value[index] != nullptr && read_value(columns_[index], value[index], out[index]);
            if (!is_read) left.append(row);
            value += columns_.size();
            out += columns_.size();
        }
        return left;
    }

    // Write the numbers of one feature's values, a list, to `out`; the numbers of the rows that are left.
    nb::list read_column(std::size_t index, nb::handle values, nb::handle out) const {
        if (!PyList_CheckExact(values.ptr())) throw nb::type_error("values are a list");
        if (index >= columns_.size()) throw nb::value_error("there is no such column");
        const Buffer target(out.ptr(), PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS);
        const std::size_t n_rows = static_cast<std::size_t>(PyList_Size(values.ptr()));
        if (static_cast<std::size_t>(target.view().len) != n_rows * sizeof(double)) throw nb::value_error("there are not so many float64");
        nb::list left;
        for (std::size_t row = 0; row < n_rows; ++row)
            if (!read_value(columns_[index], checked(PyList_GetItem(values.ptr(), static_cast<Py_ssize_t>(row))),
                            static_cast<double*>(target.view().buf)[row]))
                left.append(row);
        return left;
    }

private:
    static PyObject* checked(PyObject* found) {
        if (found == nullptr) throw nb::python_error();
        return found;
    }

    bool read_row(PyObject* instance, double* out) const {
        const auto n = static_cast<Py_ssize_t>(columns_.size());
        if (PyDict_CheckExact(instance)) {
            if (PyDict_Size(instance) != n) return false;
            for (const InstanceColumn& column : columns_) {
                PyObject* const value = PyDict_GetItemWithError(instance, column.name.ptr());
                if (value == nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
                if (value == nullptr || !read_value(column, value, *out++)) return false;
            }
            return true;
        }
        const bool is_tuple = PyTuple_CheckExact(instance);
        if (!is_tuple && !PyList_CheckExact(instance)) return false;
        if ((is_tuple ? PyTuple_Size(instance) : PyList_Size(instance)) != n) return false;
        for (Py_ssize_t index = 0; index < n; ++index) {
            PyObject* const value = checked(is_tuple ? PyTuple_GetItem(instance, index) : PyList_GetItem(instance, index));
            if (!read_value(columns_[static_cast<std::size_t>(index)], value, out[index])) return false;
        }
        return true;
    }

    static bool read_value(const InstanceColumn& column, PyObject* value, double& out) {
        if (PyUnicode_CheckExact(value)) {
            if (column.codes.is_none()) return false;
            PyObject* const code = PyDict_GetItemWithError(column.codes.ptr(), value);
            if (code == nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
            if (code == nullptr) return false;
            out = PyFloat_AsDouble(code);
            return true;
        }
        if (PyFloat_CheckExact(value)) return read_number(column, PyFloat_AsDouble(value), out);
        if (value == Py_None) return read_number(column, std::numeric_limits<double>::quiet_NaN(), out);
        if (value == Py_True || value == Py_False) {
            out = value == Py_True ? 1.0 : 0.0;
            return column.is_boolean;
        }
        if (!PyLong_CheckExact(value)) return false;
        const double number = PyLong_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred() != nullptr) {  // beyond float64
            PyErr_Clear();
            return false;
        }
        return read_number(column, number, out);
    }

    static bool read_number(const InstanceColumn& column, double number, double& out) {
        if (std::isnan(number)) {
            out = std::numeric_limits<double>::quiet_NaN();
            return column.rule.may_miss != 0.0;
        }
        // A whole number has no negative zero.
        out = column.rule.whole != 0.0 ? number + 0.0 : number;
        return column.takes_numbers && column.rule.admits(number);
    }

    std::vector<InstanceColumn> columns_;
};

}  // namespace mlrf
