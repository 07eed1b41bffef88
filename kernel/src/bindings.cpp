// The Python interface: one class. Rows are lists, tuples or buffers; results are lists and arrays; NumPy is not needed.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "buffers.hpp"
#include "cuts.hpp"
#include "engine.hpp"
#include "exponents.hpp"
#include "python_explanations.hpp"
#include "python_game.hpp"
#include "python_instances.hpp"
#include "python_json.hpp"
#include "python_tables.hpp"
#include "whole_columns.hpp"

namespace nb = nanobind;

namespace {

using mlrf::Answer;
using mlrf::Buffer;
using mlrf::Engine;
using mlrf::Forest;
using mlrf::Numbers;
using mlrf::read_numbers;

[[noreturn]] void refuse_length(std::size_t length, const Forest& f) {
    throw nb::value_error(("a row has " + std::to_string(f.n_features) + " values, not " + std::to_string(length)).c_str());
}

class PythonForest {
public:
    explicit PythonForest(const std::string& path, std::optional<std::string> level)
        : engine_(path, level ? level->c_str() : std::getenv("MLRF_KERNEL_LEVEL")) {}

    nb::object margin(nb::handle row) {
        std::vector<double> margins(engine_.forest().n_outputs);
        with_row(row, [&](const void* values, bool is_float32) { engine_.margin(values, is_float32, margins.data()); });
        return to_list(margins.data(), margins.size());
    }

    nb::object contributions(nb::handle row) {
        const Forest& f = engine_.forest();
        Answer answer(std::size_t{f.n_features} * f.n_outputs);
        with_row(row, [&](const void* values, bool is_float32) { engine_.explainer().contributions(values, is_float32, answer.data()); });
        return answer.release();
    }

    nb::object margins(nb::handle rows, int threads) const {
        return with_rows(rows, threads, engine_.forest().n_outputs,
                         [&](const mlrf::Rows& r, unsigned n, double* out) { engine_.margins(r, n, out); });
    }

    nb::object contributions_many(nb::handle rows, int threads) const {
        const Forest& f = engine_.forest();
        return with_rows(rows, threads, std::size_t{f.n_features} * f.n_outputs,
                         [&](const mlrf::Rows& r, unsigned n, double* out) { engine_.explainer().contributions_many(r, n, out); });
    }

    nb::object interactions(nb::handle rows, int threads) const {
        const Forest& f = engine_.forest();
        return with_rows(rows, threads, std::size_t{f.n_features} * f.n_features * f.n_outputs,
                         [&](const mlrf::Rows& r, unsigned n, double* out) { engine_.explainer().interactions(r, n, out); });
    }

    nb::object margins_from(nb::handle rows, nb::handle starts) const {
        const std::size_t k = engine_.forest().n_outputs;
        const Buffer buffer(starts.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS);
        std::vector<unsigned char> aligned;
        const Numbers numbers = read_numbers(starts.ptr(), buffer.view(), aligned);
        if (numbers.is_float32) throw nb::type_error("starts must be float64 numbers");
        return with_rows(rows, 1, k, [&](const mlrf::Rows& r, unsigned, double* out) {
            if (numbers.count != r.n_rows * k) throw std::invalid_argument("each row needs a start for each output");
            engine_.margins_from(r, static_cast<const double*>(numbers.values), out);
        });
    }

    nb::object leaves(nb::handle rows, nb::handle trees, nb::handle numbers) const {
        const Forest& f = engine_.forest();
        const mlrf::Indices chosen(trees.ptr()), listed(numbers.ptr());
        if (listed.count() != f.leaf_values.count) throw nb::value_error("each leaf of the forest needs a number");
        for (std::size_t i = 0; i < chosen.count(); ++i)
            if (chosen.data()[i] >= f.n_trees) throw nb::index_error("the forest has no tree of this number");
        return with_rows(rows, 1, chosen.count(), [&](const mlrf::Rows& r, unsigned, double* out) {
            engine_.leaves(r, chosen.data(), chosen.count(), listed.data(), out);
        });
    }

    nb::object cuts(std::int64_t feature) const {
        const Forest& f = engine_.forest();
        if (feature < 0 || feature >= f.n_features) throw nb::index_error("the forest has no feature of this number");
        const std::vector<double> found = mlrf::cut_points(f, static_cast<std::uint32_t>(feature));
        Answer answer(found.size());
        if (!found.empty()) std::memcpy(answer.data(), found.data(), found.size() * sizeof(double));
        return answer.release();
    }

    const Engine& engine() const { return engine_; }
    nb::object base() const { return to_list(engine_.forest().expected.data, engine_.forest().n_outputs); }
    std::uint32_t n_features() const { return engine_.forest().n_features; }
    std::uint32_t n_outputs() const { return engine_.forest().n_outputs; }
    std::uint32_t n_trees() const { return engine_.forest().n_trees; }
    const char* level() const { return engine_.level().name; }
    bool is_packed() const { return engine_.is_packed(); }
    bool has_linear_leaves() const { return engine_.forest().linear_leaves.count > 0; }
    nb::object combinations() const {
        const Forest& f = engine_.forest();
        nb::list found;
        for (std::size_t g = 0; g < f.feature_groups.count; ++g) {
            nb::list members;
            for (std::uint32_t m = 0; m < f.feature_groups[g].count; ++m) members.append(f.group_features[f.feature_groups[g].first + m]);
            found.append(members);
        }
        return found;
    }
    const char* layout() const {
        const Forest& f = engine_.forest();
        return f.is_wide                 ? "wide"
               : f.sweep_lane_bytes == 0 ? "narrow"
               : f.sweep_lane_bytes == 1 ? "narrow, swept in bytes"
                                         : "narrow, swept in words";
    }

    // Run work(rows) with the rows of a buffer.
    template <typename Work>
    void with_numbers(nb::handle rows, const Work& work) const {
        const Forest& f = engine_.forest();
        const Buffer buffer(rows.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS);
        std::vector<unsigned char> aligned;
        const Numbers numbers = read_numbers(rows.ptr(), buffer.view(), aligned);
        const Py_buffer& view = buffer.view();
        if (view.ndim > 1 && static_cast<std::size_t>(view.shape[view.ndim - 1]) != f.n_features)
            refuse_length(static_cast<std::size_t>(view.shape[view.ndim - 1]), f);
        if (numbers.count % f.n_features != 0) refuse_length(numbers.count % f.n_features, f);
        work(mlrf::Rows{numbers.values, numbers.is_float32, numbers.count / f.n_features});
    }

    // Return the row_answers numbers of each row that work(rows, threads, numbers) writes, without the interpreter's lock.
    template <typename Work>
    nb::object with_rows(nb::handle rows, int threads, std::size_t row_answers, const Work& work) const {
        if (threads < 1) throw nb::value_error("threads must be 1 or more");
        nb::object result;
        with_numbers(rows, [&](const mlrf::Rows& given) {
            Answer answer(given.n_rows * row_answers);
            if (given.n_rows > 0) {
                double* out = answer.data();
                const nb::gil_scoped_release released;
                work(given, static_cast<unsigned>(threads), out);
            }
            result = answer.release();
        });
        return result;
    }

private:
    static nb::object to_list(const double* numbers, std::size_t n) {
        nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(n)));
        if (!list.is_valid()) throw nb::python_error();
        for (std::size_t i = 0; i < n; ++i) {
            PyObject* number = PyFloat_FromDouble(numbers[i]);
            if (number == nullptr) throw nb::python_error();
            PyList_SetItem(list.ptr(), static_cast<Py_ssize_t>(i), number);
        }
        return list;
    }

    static double read_number(PyObject* item) {
        if (item == Py_None) return std::numeric_limits<double>::quiet_NaN();
        const double number = PyFloat_AsDouble(item);
        if (number == -1.0 && PyErr_Occurred() != nullptr) throw nb::python_error();
        return number;
    }

    // The row is copied to memory of its own before the engine is called: a number's __float__ may run Python code, and that
    // code, or another thread meanwhile, may call this engine with another row.
    template <typename Work>
    void with_row(nb::handle row, const Work& work) const {
        const Forest& f = engine_.forest();
        PyObject* object = row.ptr();
        std::vector<double> values(f.n_features);
        if (PyList_Check(object)) {
            if (static_cast<std::size_t>(PyList_Size(object)) != values.size())
                refuse_length(static_cast<std::size_t>(PyList_Size(object)), f);
            for (std::size_t i = 0; i < values.size(); ++i) {
                // Python code may have shortened the list: PyList_GetItem checks its size each time.
                PyObject* item = PyList_GetItem(object, static_cast<Py_ssize_t>(i));
                if (item == nullptr) throw nb::python_error();
                if (PyFloat_CheckExact(item)) {
                    values[i] = read_number(item);
                } else {
                    const nb::object kept = nb::borrow(item);
                    values[i] = read_number(item);
                }
            }
        } else if (PyTuple_Check(object)) {
            if (static_cast<std::size_t>(PyTuple_Size(object)) != values.size())
                refuse_length(static_cast<std::size_t>(PyTuple_Size(object)), f);
            for (std::size_t i = 0; i < values.size(); ++i) values[i] = read_number(PyTuple_GetItem(object, static_cast<Py_ssize_t>(i)));
        } else if (PyObject_CheckBuffer(object)) {
            const Buffer buffer(object, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS);
            std::vector<unsigned char> aligned;
            const Numbers numbers = read_numbers(object, buffer.view(), aligned);
            if (numbers.count != values.size() || (buffer.view().ndim > 1 && buffer.view().shape[0] != 1)) refuse_length(numbers.count, f);
            work(numbers.values, numbers.is_float32);
            return;
        } else if (PySequence_Check(object) && !PyDict_Check(object)) {
            const nb::object copy = nb::steal(PySequence_Tuple(object));
            if (!copy.is_valid()) throw nb::python_error();
            with_row(copy, work);
            return;
        } else {
            throw nb::type_error("a row must be a list, a tuple, another sequence, or a buffer of numbers in the order of the columns");
        }
        work(values.data(), false);
    }

    Engine engine_;
};

}  // namespace

NB_MODULE(_kernel, m) {
    // A server's models live until its process ends; nanobind would report that as a leak in the log at every worker's exit.
    nb::set_leak_warnings(false);
    m.doc() = "Scoring and SHAP values of tree ensembles over a mapped forest file.";
    nb::exception<mlrf::ForestFileError>(m, "ForestFileError", PyExc_ValueError);
    nb::exception<mlrf::TooLargeError>(m, "TooLargeError", PyExc_ValueError);
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const std::system_error& error) {
            PyErr_SetString(PyExc_OSError, error.what());
        }
    });
    m.def("count_wire", &mlrf::count_wire, nb::arg("message"), nb::arg("most_fields"));
    m.def(
        "count_exponents",
        [](const nb::bytes& text, unsigned least) { return mlrf::count_exponents({text.c_str(), text.size()}, least); },
        nb::arg("text"), nb::arg("least"));
    m.def("fill_records", &mlrf::fill_record_buffers, nb::arg("body"), nb::arg("nodes"), nb::arg("buffers"), nb::arg("columns"),
          nb::arg("table"), nb::arg("n_rows"));
    m.def("fill_columns", &mlrf::fill_typed_columns, nb::arg("columns"), nb::arg("rules"), nb::arg("table"), nb::arg("n_rows"));
    m.def("first_outside", &mlrf::first_refused, nb::arg("rows"), nb::arg("rules"));
    nb::class_<mlrf::WholeColumns>(m, "WholeColumns")
        .def(nb::init<const nb::sequence&>(), nb::arg("columns"))
        .def("admit", &mlrf::WholeColumns::admit, nb::arg("row"));
    nb::class_<mlrf::InstanceRows>(m, "InstanceRows")
        .def(nb::init<const nb::sequence&>(), nb::arg("columns"))
        .def("read", &mlrf::InstanceRows::read, nb::arg("rows"), nb::arg("table"))
        .def("read_array", &mlrf::InstanceRows::read_array, nb::arg("rows"), nb::arg("table"))
        .def("read_column", &mlrf::InstanceRows::read_column, nb::arg("index"), nb::arg("values"), nb::arg("out"));
    nb::class_<mlrf::PythonJsonRows>(m, "JsonRows")
        .def(nb::init<const nb::sequence&, bool, std::size_t>(), nb::arg("columns"), nb::arg("by_name"), nb::arg("most_rows"))
        .def("read", &mlrf::PythonJsonRows::read, nb::arg("body"));
    nb::class_<mlrf::PythonJsonTensor>(m, "JsonTensor")
        .def(nb::init<const nb::sequence&, const nb::sequence&, const nb::sequence&, std::size_t>(), nb::arg("columns"), nb::arg("names"),
             nb::arg("outputs"), nb::arg("most_rows"))
        .def("read", &mlrf::PythonJsonTensor::read, nb::arg("body"), nb::arg("json_bytes").none());
    nb::class_<mlrf::PythonExplanationJson>(m, "ExplanationJson")
        .def(nb::init<const nb::sequence&, const nb::sequence&, const std::string&>(), nb::arg("players"), nb::arg("outputs"),
             nb::arg("members"))
        .def("write", &mlrf::PythonExplanationJson::write, nb::arg("margins"), nb::arg("base"), nb::arg("contributions"),
             nb::arg("top").none(), nb::arg("source"));
    nb::class_<PythonForest>(m, "Forest")
        .def(nb::init<const std::string&, std::optional<std::string>>(), nb::arg("path"), nb::arg("level") = nb::none())
        .def("margin", &PythonForest::margin, nb::arg("row"))
        .def("margins", &PythonForest::margins, nb::arg("rows"), nb::arg("threads") = 1)
        .def("contributions", &PythonForest::contributions, nb::arg("row"))
        .def("contributions_many", &PythonForest::contributions_many, nb::arg("rows"), nb::arg("threads") = 1)
        .def("interactions", &PythonForest::interactions, nb::arg("rows"), nb::arg("threads") = 1)
        .def("margins_from", &PythonForest::margins_from, nb::arg("rows"), nb::arg("starts"))
        .def("leaves", &PythonForest::leaves, nb::arg("rows"), nb::arg("trees"), nb::arg("numbers"))
        .def("cuts", &PythonForest::cuts, nb::arg("feature"))
        .def_prop_ro("base", &PythonForest::base)
        .def_prop_ro("n_features", &PythonForest::n_features)
        .def_prop_ro("n_outputs", &PythonForest::n_outputs)
        .def_prop_ro("n_trees", &PythonForest::n_trees)
        .def_prop_ro("level", &PythonForest::level)
        .def_prop_ro("layout", &PythonForest::layout)
        .def_prop_ro("combinations", &PythonForest::combinations)
        .def_prop_ro("has_linear_leaves", &PythonForest::has_linear_leaves)
        .def_prop_ro("is_packed", &PythonForest::is_packed);
    using PythonGroups = mlrf::PythonGroups<PythonForest>;
    nb::class_<PythonGroups>(m, "Groups")
        .def(nb::init<const PythonForest&, nb::handle, std::size_t>(), nb::arg("forest"), nb::arg("group_of"), nb::arg("n_groups"),
             nb::keep_alive<1, 2>())
        .def("contributions_many", &PythonGroups::contributions_many, nb::arg("rows"), nb::arg("threads") = 1)
        .def_prop_ro("base", &PythonGroups::base);
    using PythonGame = mlrf::PythonGame<PythonForest>;
    nb::class_<PythonGame>(m, "Game")
        .def(nb::init<const PythonForest&, const std::string&, nb::handle, std::size_t, const PythonGroups*>(), nb::arg("forest"),
             nb::arg("name"), nb::arg("rows"), nb::arg("most_bytes"), nb::arg("groups").none() = nb::none(), nb::keep_alive<1, 2>(),
             nb::keep_alive<1, 6>())
        .def("contributions_many", &PythonGame::contributions_many, nb::arg("rows"), nb::arg("threads") = 1)
        .def_prop_ro("base", &PythonGame::base)
        .def_prop_ro("size_bytes", &PythonGame::size_bytes);
}
