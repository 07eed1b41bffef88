// Buffers of Python objects: the numbers of rows that are read, and the arrays that are returned.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace mlrf {

namespace nb = nanobind;

// A buffer of a Python object, released by the destructor.
class Buffer {
public:
    Buffer(PyObject* object, int flags) {
        if (PyObject_GetBuffer(object, &view_, flags) != 0) throw nb::python_error();
    }
    ~Buffer() { PyBuffer_Release(&view_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    const Py_buffer& view() const { return view_; }

private:
    Py_buffer view_;
};

// Numbers in a buffer: float64, float32, or raw bytes of float64.
struct Numbers {
    const void* values;
    bool is_float32;
    std::size_t count;
};

inline Numbers read_numbers(PyObject* object, const Py_buffer& view, std::vector<unsigned char>& aligned) {
    // Only bytes-like types may contain the bytes of numbers: an array of int8 is a mistake of the caller.
    const bool is_raw = PyBytes_Check(object) || PyByteArray_Check(object) ||
                        (PyMemoryView_Check(object) && view.format != nullptr && std::strcmp(view.format, "B") == 0);
    const char* format = view.format == nullptr ? "B" : view.format;
    if (*format == '@' || *format == '=' || *format == '<') ++format;
    const bool is_float32 = std::strcmp(format, "f") == 0;
    if (!is_float32 && !is_raw && std::strcmp(format, "d") != 0)
        throw nb::type_error("rows must hold float64 or float32 numbers, or the bytes of float64 numbers");
    const std::size_t size_bytes = static_cast<std::size_t>(view.len);
    const std::size_t value_bytes = is_float32 ? sizeof(float) : sizeof(double);
    if (size_bytes % value_bytes != 0) throw nb::value_error("rows end in the middle of a number");
    const void* values = view.buf;
    if (reinterpret_cast<std::uintptr_t>(values) % value_bytes != 0) {
        aligned.assign(static_cast<const unsigned char*>(values), static_cast<const unsigned char*>(values) + size_bytes);
        values = aligned.data();
    }
    return {values, is_float32, size_bytes / value_bytes};
}

// 32-bit indices in a buffer of their bytes, aligned to their size.
class Indices {
public:
    explicit Indices(PyObject* object) : buffer_(object, PyBUF_C_CONTIGUOUS) {
        const Py_buffer& view = buffer_.view();
        const std::size_t size_bytes = static_cast<std::size_t>(view.len);
        if (size_bytes % sizeof(std::uint32_t) != 0) throw nb::value_error("indices end in the middle of a number");
        if (reinterpret_cast<std::uintptr_t>(view.buf) % sizeof(std::uint32_t) != 0)
            throw nb::value_error("indices must be aligned to 4 bytes");
        count_ = size_bytes / sizeof(std::uint32_t);
    }
    const std::uint32_t* data() const { return static_cast<const std::uint32_t*>(buffer_.view().buf); }
    std::size_t count() const { return count_; }

private:
    Buffer buffer_;
    std::size_t count_ = 0;
};

// An array.array('d') of n zeros and its memory.
class Answer {
public:
    explicit Answer(std::size_t n) {
        static PyObject* const one_zero = [] {
            nb::object made = nb::module_::import_("array").attr("array")("d", nb::make_tuple(0.0));
            return made.release().ptr();
        }();
        array_ = nb::steal(PySequence_Repeat(one_zero, static_cast<Py_ssize_t>(n)));
        if (!array_.is_valid()) throw nb::python_error();
        if (n > 0) buffer_.emplace(array_.ptr(), PyBUF_WRITABLE);
    }
    double* data() { return buffer_ ? static_cast<double*>(buffer_->view().buf) : nullptr; }
    nb::object release() {
        buffer_.reset();
        return std::move(array_);
    }

private:
    nb::object array_;
    std::optional<Buffer> buffer_;
};

}  // namespace mlrf
