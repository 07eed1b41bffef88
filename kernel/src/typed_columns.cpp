#include "typed_columns.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "record_columns.hpp"

namespace mlrf {
namespace {

constexpr std::size_t kTileRows = 64;

// Whether a rule admits all of n values.
bool admits_all(const ValueRule& rule, const double* values, std::size_t n) {
    constexpr double all_whole = 4503599627370496.0;  // 2 to the 52: greater numbers have no fraction
    const double least = rule.least, most = rule.most;
    const int may_miss = rule.may_miss != 0.0;
    int n_wrong = 0;
    for (std::size_t row = 0; row < n; ++row) {
        const double x = values[row];
        n_wrong += static_cast<int>(!(x >= least)) | static_cast<int>(!(x <= most));
    }
    if (n_wrong != 0 && may_miss != 0)
        for (std::size_t row = 0; row < n; ++row) n_wrong -= static_cast<int>(std::isnan(values[row]));
    if (n_wrong != 0 || rule.whole == 0.0) return n_wrong == 0;
    for (std::size_t row = 0; row < n; ++row) {
        const double x = values[row];
        const double near = std::fabs(x) < all_whole ? x : 0.0;  // NaN too
        n_wrong += static_cast<int>(static_cast<double>(static_cast<std::int64_t>(near)) != near);
    }
    return n_wrong == 0;
}

// Set those of n values to NaN whose bit is 0; the bits begin at an offset.
void clear_missing(const unsigned char* bits, std::size_t offset, std::size_t n, double* values) {
    for (std::size_t row = 0; row < n;) {
        const std::size_t bit = offset + row, left = std::min<std::size_t>(8 - bit % 8, n - row);
        const unsigned mask = (1u << left) - 1, set = static_cast<unsigned>(bits[bit / 8]) >> (bit % 8) & mask;
        if (set != mask)
            for (std::size_t i = 0; i < left; ++i)
                if (!(set >> i & 1)) values[row + i] = std::numeric_limits<double>::quiet_NaN();
        row += left;
    }
}

}  // namespace

std::vector<bool> fill_typed(const std::vector<TypedColumn>& columns, const ValueRule* rules, std::size_t n, double* table,
                             std::size_t width) {
    std::vector<bool> admitted(columns.size(), true);
    std::array<double, kTileRows> values;
    for (std::size_t first = 0; first < n; first += kTileRows) {
        const std::size_t count = std::min(kTileRows, n - first);
        for (std::size_t c = 0; c < columns.size(); ++c) {
            const TypedColumn& column = columns[c];
            const std::size_t value_bytes = number_bytes(column.code), begin = column.offset + first;
            fill_column(column.code, column.data + begin * value_bytes, count * value_bytes, count, values.data(), 1);
            if (column.validity != nullptr) clear_missing(column.validity, begin, count, values.data());
            if (admitted[c] && !admits_all(rules[column.target], values.data(), count)) admitted[c] = false;
            double* out = table + first * width + column.target;
            for (std::size_t row = 0; row < count; ++row) out[row * width] = values[row];
        }
    }
    return admitted;
}

}  // namespace mlrf
