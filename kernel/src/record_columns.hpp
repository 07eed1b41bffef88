// Columns of numbers of an Arrow record batch as columns of a float64 table.
//
// Whatever is not certainly valid is left to the caller, whose own reader then says what is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace mlrf {

// How a column is read: a code of Python's `struct`, '?' for bits, and the column of the table, below 0 for one that is skipped.
struct RecordColumn {
    std::uint32_t code;
    std::int32_t target;
    std::uint32_t n_buffers;
};

struct RecordNode {
    std::int64_t length;
    std::int64_t n_missing;
};

struct RecordBuffer {
    std::int64_t offset;
    std::int64_t size_bytes;
};

struct RecordBatch {
    const unsigned char* body;
    std::size_t size_bytes;
    const RecordNode* nodes;
    std::size_t n_nodes;
    const RecordBuffer* buffers;
    std::size_t n_buffers;
};

template <typename Number>
inline bool fill_numbers(const unsigned char* data, std::size_t size_bytes, std::size_t n, double* out, std::size_t stride) {
    if (size_bytes / sizeof(Number) < n) return false;
    for (std::size_t row = 0; row < n; ++row) {
        Number number;
        std::memcpy(&number, data + row * sizeof number, sizeof number);
        out[row * stride] = static_cast<double>(number);
    }
    return true;
}

inline bool fill_bits(const unsigned char* data, std::size_t size_bytes, std::size_t n, double* out, std::size_t stride) {
    if (size_bytes < (n + 7) / 8) return false;
    for (std::size_t row = 0; row < n; ++row) out[row * stride] = data[row / 8] >> (row % 8) & 1;
    return true;
}

inline bool fill_column(std::uint32_t code, const unsigned char* data, std::size_t size_bytes, std::size_t n, double* out,
                        std::size_t stride) {
    switch (code) {
        case 'd': return fill_numbers<double>(data, size_bytes, n, out, stride);
        case 'f': return fill_numbers<float>(data, size_bytes, n, out, stride);
        case 'b': return fill_numbers<std::int8_t>(data, size_bytes, n, out, stride);
        case 'B': return fill_numbers<std::uint8_t>(data, size_bytes, n, out, stride);
        case 'h': return fill_numbers<std::int16_t>(data, size_bytes, n, out, stride);
        case 'H': return fill_numbers<std::uint16_t>(data, size_bytes, n, out, stride);
        case 'i': return fill_numbers<std::int32_t>(data, size_bytes, n, out, stride);
        case 'I': return fill_numbers<std::uint32_t>(data, size_bytes, n, out, stride);
        case 'q': return fill_numbers<std::int64_t>(data, size_bytes, n, out, stride);
        case 'Q': return fill_numbers<std::uint64_t>(data, size_bytes, n, out, stride);
        case '?': return fill_bits(data, size_bytes, n, out, stride);
        default: return false;
    }
}

// Write the columns of n rows into table[n][width], missing values as NaN. Returns whether the batch is valid; if not, the table
// may be written in part.
inline bool fill_records(const RecordBatch& batch, const RecordColumn* columns, std::size_t n_columns, std::size_t n, double* table,
                         std::size_t width) {
    if (batch.n_nodes != n_columns) return false;
    std::size_t next = 0;
    std::size_t left = batch.size_bytes;
    for (std::size_t c = 0; c < n_columns; ++c) {
        const RecordColumn& column = columns[c];
        const RecordNode& node = batch.nodes[c];
        if (node.length < 0 || static_cast<std::uint64_t>(node.length) != n) return false;
        if (column.n_buffers > batch.n_buffers - next) return false;
        for (std::size_t b = next; b < next + column.n_buffers; ++b) {
            const RecordBuffer& buffer = batch.buffers[b];
            if (buffer.offset < 0 || buffer.size_bytes < 0) return false;
            const std::uint64_t offset = static_cast<std::uint64_t>(buffer.offset), size = static_cast<std::uint64_t>(buffer.size_bytes);
            // Buffers that overlap would be more work than bytes were sent.
            if (offset > batch.size_bytes || size > batch.size_bytes - offset || size > left) return false;
            left -= size;
        }
        if (column.target >= 0) {
            if (column.n_buffers < 2 || static_cast<std::size_t>(column.target) >= width) return false;
            const RecordBuffer &validity = batch.buffers[next], &data = batch.buffers[next + 1];
            double* out = table + column.target;
            if (!fill_column(column.code, batch.body + data.offset, static_cast<std::size_t>(data.size_bytes), n, out, width)) return false;
            if (node.n_missing != 0) {
                if (static_cast<std::uint64_t>(validity.size_bytes) < (n + 7) / 8) return false;
                const unsigned char* bits = batch.body + validity.offset;
                for (std::size_t row = 0; row < n; ++row)
                    if (!(bits[row / 8] >> (row % 8) & 1)) out[row * width] = std::numeric_limits<double>::quiet_NaN();
            }
        }
        next += column.n_buffers;
    }
    return true;
}

}  // namespace mlrf
