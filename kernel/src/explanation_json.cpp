#include "explanation_json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

namespace mlrf {
namespace {

constexpr std::size_t kNumberBytes = 32;
// Exponents of ten whose numbers are written without one.
constexpr int kLeastPlain = -5, kMostPlain = 15;

// Write the number as d.ddde-XX in the fewest digits that read as the same number; return the end.
char* write_scientific(double number, char* begin) {
#ifdef __cpp_lib_to_chars
    return std::to_chars(begin, begin + kNumberBytes, number, std::chars_format::scientific).ptr;
#else
    for (int digits = 0;; ++digits) {
        const int length = std::snprintf(begin, kNumberBytes, "%.*e", digits, number);
        if (digits == 16 || std::strtod(begin, nullptr) == number) return begin + length;
    }
#endif
}

}  // namespace

void write_json_number(double number, std::string& json) {
    if (!std::isfinite(number)) {
        json += "null";
        return;
    }
    if (std::signbit(number)) json += '-';
    if (number == 0.0) {
        json += "0.0";
        return;
    }
    char written[kNumberBytes];
    char* const end = write_scientific(std::fabs(number), written);
    char* const letter = std::find(written, end, 'e');
    int exponent = 0;
    for (const char* at = letter + 2; at < end; ++at) exponent = 10 * exponent + (*at - '0');
    if (letter[1] == '-') exponent = -exponent;
    if (exponent < kLeastPlain || exponent > kMostPlain) {
        json.append(written, letter);
        json += 'e';
        json += std::to_string(exponent);
        return;
    }
    std::string digits(1, written[0]);
    if (letter > written + 1) digits.append(written + 2, letter);
    if (exponent < 0) {
        json += "0.";
        json.append(static_cast<std::size_t>(-exponent - 1), '0');
        json += digits;
        return;
    }
    const std::size_t whole = static_cast<std::size_t>(exponent) + 1;
    if (digits.size() < whole) digits.append(whole - digits.size(), '0');
    json.append(digits, 0, whole);
    json += '.';
    if (digits.size() > whole)
        json.append(digits, whole, std::string::npos);
    else
        json += '0';
}

void ExplanationJson::write(const double* margins, const double* base, const double* contributions, std::optional<std::size_t> top,
                            const std::string& source, std::string& json) const {
    const std::size_t k = n_outputs();
    const std::size_t ranked = static_cast<std::size_t>(std::max_element(margins, margins + k) - margins);
    const std::vector<std::size_t> shown = chosen(contributions, ranked, top);
    std::vector<bool> is_shown(players_.size());
    for (const std::size_t player : shown) is_shown[player] = true;

    json += "{\"space\":\"margin\",\"margin\":";
    write_outputs(margins, json);
    json += ",\"base\":";
    write_outputs(base, json);
    std::string others;
    json += ",\"contributions\":";
    for (std::size_t output = 0; output < k; ++output) {
        const bool is_named = !outputs_.empty();
        if (is_named) {
            (json += output == 0 ? '{' : ',') += outputs_[output];
            json += ':';
            (others += output == 0 ? '{' : ',') += outputs_[output];
            others += ':';
        }
        json += '{';
        for (std::size_t i = 0; i < shown.size(); ++i) {
            if (i > 0) json += ',';
            (json += players_[shown[i]]) += ':';
            write_json_number(contributions[shown[i] * k + output], json);
        }
        json += '}';
        double other = 0.0;
        for (std::size_t player = 0; player < players_.size(); ++player)
            if (!is_shown[player]) other += contributions[player * k + output];
        write_json_number(other, others);
    }
    if (!outputs_.empty()) {
        json += '}';
        others += '}';
    }
    json += ",\"other\":";
    json += others;
    json += ",\"source\":\"";
    json += source;
    json += '"';
    json += members_;
    json += '}';
}

std::vector<std::size_t> ExplanationJson::chosen(const double* contributions, std::size_t output, std::optional<std::size_t> top) const {
    const std::size_t k = n_outputs();
    std::vector<std::size_t> order(players_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (!top || *top >= order.size()) return order;
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(*top);
    const auto magnitude = [&](std::size_t player) {
        const double contribution = std::fabs(contributions[player * k + output]);
        return std::isnan(contribution) ? -1.0 : contribution;  // a NaN has no place in an order
    };
    std::partial_sort(order.begin(), end, order.end(), [&](std::size_t first, std::size_t second) {
        const double a = magnitude(first), b = magnitude(second);
        return a != b ? a > b : first < second;
    });
    order.erase(end, order.end());
    return order;
}

void ExplanationJson::write_outputs(const double* values, std::string& json) const {
    if (outputs_.empty()) {
        write_json_number(values[0], json);
        return;
    }
    for (std::size_t output = 0; output < outputs_.size(); ++output) {
        json += output == 0 ? '[' : ',';
        write_json_number(values[output], json);
    }
    json += ']';
}

}  // namespace mlrf
