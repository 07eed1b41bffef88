// Which columns of a row must hold whole numbers, and whether a row of Python objects does: a decoded body, before it is a row.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <vector>

#include "integers.hpp"

namespace mlrf {

// One column: whole numbers from least to most, and no minus zero, which an integer does not have.
struct WholeColumn {
    Py_ssize_t index;
    double least, most;

    bool admits(double x) const {
        return x >= least && x <= most && is_integer(x);
    }
};

class WholeColumns {
public:
    explicit WholeColumns(const nanobind::sequence& columns) {
        for (const nanobind::handle each : columns) {
            const nanobind::tuple column = nanobind::cast<nanobind::tuple>(each);
            if (column.size() != 3) throw nanobind::value_error("a column has an index, a least and a most number");
            columns_.push_back({nanobind::cast<Py_ssize_t>(column[0]), nanobind::cast<double>(column[1]), nanobind::cast<double>(column[2])});
            if (columns_.back().index < 0) throw nanobind::value_error("the index of a column is 0 or more");
        }
    }

    // A missing value, None, and true and false are admitted; the row is a tuple or a list of numbers.
    bool admit(nanobind::handle row) const {
        PyObject* const object = row.ptr();
        const bool is_tuple = PyTuple_Check(object);
        if (!is_tuple && !PyList_Check(object)) throw nanobind::type_error("a row is a tuple or a list of numbers");
        for (const WholeColumn& column : columns_) {
            PyObject* const item = is_tuple ? PyTuple_GetItem(object, column.index) : PyList_GetItem(object, column.index);
            if (item == nullptr) throw nanobind::python_error();
            // Booleans are whole, and slow to convert.
            if (item == Py_None || item == Py_True || item == Py_False) continue;
            const double number = PyFloat_AsDouble(item);
            if (number == -1.0 && PyErr_Occurred() != nullptr) throw nanobind::python_error();
            if (!column.admits(number)) return false;
        }
        return true;
    }

private:
    std::vector<WholeColumn> columns_;
};

}  // namespace mlrf
