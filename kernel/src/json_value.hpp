// Reads a number or null that a column admits.
#pragma once

#include <limits>

#include "integers.hpp"
#include "json_cursor.hpp"
#include "json_number.hpp"

namespace mlrf {

// What a column admits: numbers from least to most, only whole ones if is_whole; null if may_miss.
struct ValueRange {
    double least, most;
    bool is_whole, may_miss;

    bool admits(double value) const { return value >= least && value <= most && !(is_whole && !is_integer(value)); }
};

// Whether a value is null, which is then read as NaN.
inline bool takes_null(JsonCursor& cursor, double& value) {
    if (!cursor.takes("null")) return false;
    value = std::numeric_limits<double>::quiet_NaN();
    return true;
}

// Read a number that is certain to be a finite float64.
inline bool takes_number(JsonCursor& cursor, double& value) {
    cursor.skip_space();
    const char* const stopped = read_json_number(cursor.at, cursor.end, value);
    if (stopped == nullptr) return false;
    cursor.at = stopped;
    return true;
}

}  // namespace mlrf
