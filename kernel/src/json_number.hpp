// Reads a number of JSON as the nearest float64.
//
// Up to 19 significant digits, which every float64 written by repr has, take some 10 ns; others are left to std::from_chars. The
// method is Lemire's ("Number Parsing at a Gigabyte per Second", 2021): the digits times a power of five of 128 bits, which rounds
// correctly without a second try (Mushtak and Lemire, "Fast Number Parsing Without Fallback", 2023).
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace mlrf {

struct PowerOfFive {
    std::uint64_t high, low;
};
constexpr int kMostPower = 27;
// 5^q for q from -27 to 27, scaled to [2^127, 2^128); reciprocals are rounded up.
constexpr PowerOfFive kPowersOfFive[2 * kMostPower + 1] = {
    {0x9e74d1b791e07e48, 0x775ea264cf55347e},
    {0xc612062576589dda, 0x95364afe032a819e},
    {0xf79687aed3eec551, 0x3a83ddbd83f52205},
    {0x9abe14cd44753b52, 0xc4926a9672793543},
    {0xc16d9a0095928a27, 0x75b7053c0f178294},
    {0xf1c90080baf72cb1, 0x5324c68b12dd6339},
    {0x971da05074da7bee, 0xd3f6fc16ebca5e04},
    {0xbce5086492111aea, 0x88f4bb1ca6bcf585},
    {0xec1e4a7db69561a5, 0x2b31e9e3d06c32e6},
    {0x9392ee8e921d5d07, 0x3aff322e62439fd0},
    {0xb877aa3236a4b449, 0x09befeb9fad487c3},
    {0xe69594bec44de15b, 0x4c2ebe687989a9b4},
    {0x901d7cf73ab0acd9, 0x0f9d37014bf60a11},
    {0xb424dc35095cd80f, 0x538484c19ef38c95},
    {0xe12e13424bb40e13, 0x2865a5f206b06fba},
    {0x8cbccc096f5088cb, 0xf93f87b7442e45d4},
    {0xafebff0bcb24aafe, 0xf78f69a51539d749},
    {0xdbe6fecebdedd5be, 0xb573440e5a884d1c},
    {0x89705f4136b4a597, 0x31680a88f8953031},
    {0xabcc77118461cefc, 0xfdc20d2b36ba7c3e},
    {0xd6bf94d5e57a42bc, 0x3d32907604691b4d},
    {0x8637bd05af6c69b5, 0xa63f9a49c2c1b110},
    {0xa7c5ac471b478423, 0x0fcf80dc33721d54},
    {0xd1b71758e219652b, 0xd3c36113404ea4a9},
    {0x83126e978d4fdf3b, 0x645a1cac083126ea},
    {0xa3d70a3d70a3d70a, 0x3d70a3d70a3d70a4},
    {0xcccccccccccccccc, 0xcccccccccccccccd},
    {0x8000000000000000, 0x0000000000000000},
    {0xa000000000000000, 0x0000000000000000},
    {0xc800000000000000, 0x0000000000000000},
    {0xfa00000000000000, 0x0000000000000000},
    {0x9c40000000000000, 0x0000000000000000},
    {0xc350000000000000, 0x0000000000000000},
    {0xf424000000000000, 0x0000000000000000},
    {0x9896800000000000, 0x0000000000000000},
    {0xbebc200000000000, 0x0000000000000000},
    {0xee6b280000000000, 0x0000000000000000},
    {0x9502f90000000000, 0x0000000000000000},
    {0xba43b74000000000, 0x0000000000000000},
    {0xe8d4a51000000000, 0x0000000000000000},
    {0x9184e72a00000000, 0x0000000000000000},
    {0xb5e620f480000000, 0x0000000000000000},
    {0xe35fa931a0000000, 0x0000000000000000},
    {0x8e1bc9bf04000000, 0x0000000000000000},
    {0xb1a2bc2ec5000000, 0x0000000000000000},
    {0xde0b6b3a76400000, 0x0000000000000000},
    {0x8ac7230489e80000, 0x0000000000000000},
    {0xad78ebc5ac620000, 0x0000000000000000},
    {0xd8d726b7177a8000, 0x0000000000000000},
    {0x878678326eac9000, 0x0000000000000000},
    {0xa968163f0a57b400, 0x0000000000000000},
    {0xd3c21bcecceda100, 0x0000000000000000},
    {0x84595161401484a0, 0x0000000000000000},
    {0xa56fa5b99019a5c8, 0x0000000000000000},
    {0xcecb8f27f4200f3a, 0x0000000000000000},
};
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int kMostExactPower = 22;

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether 8 bytes are digits, and the number that they are.
inline bool are_eight_digits(std::uint64_t chars) {
    return (((chars + 0x4646464646464646u) | (chars - 0x3030303030303030u)) & 0x8080808080808080u) == 0;
}
inline std::uint64_t eight_digits(std::uint64_t chars) {
    chars -= 0x3030303030303030u;
    chars = chars * 10 + (chars >> 8);
    return ((chars & 0x000000FF000000FFu) * 0x000F424000000064u + ((chars >> 16) & 0x000000FF000000FFu) * 0x0000271000000001u) >> 32;
}

// digits * 10^power, rounded to the nearest float64; power from -27 to 27, so the result is a normal number.
inline double scaled(std::uint64_t digits, int power) {
    if (digits == 0) return 0.0;
    if (digits < std::uint64_t{1} << 53 && power >= -kMostExactPower && power <= kMostExactPower) {
        const double number = static_cast<double>(digits);
        return power < 0 ? number / kPowersOfTen[-power] : number * kPowersOfTen[power];
    }
    const int zeros = __builtin_clzll(digits);
    digits <<= zeros;
    const PowerOfFive& five = kPowersOfFive[power + kMostPower];
    __extension__ using Wide = unsigned __int128;
    const Wide first = static_cast<Wide>(digits) * five.high;
    std::uint64_t high = static_cast<std::uint64_t>(first >> 64), low = static_cast<std::uint64_t>(first);
    if ((high & 0x1FF) == 0x1FF) {
        const std::uint64_t second = static_cast<std::uint64_t>((static_cast<Wide>(digits) * five.low) >> 64);
        low += second;
        if (second > low) ++high;
    }
    const int upper = static_cast<int>(high >> 63);
    std::uint64_t mantissa = high >> (upper + 9);
    std::int64_t exponent = ((217706 * power) >> 16) + 63 + upper - zeros + 1023;
    // Exactly between two float64, which only these powers can be: round to even.
    if (low <= 1 && power >= -4 && power <= 23 && (mantissa & 3) == 1 && mantissa << (upper + 9) == high) mantissa &= ~std::uint64_t{1};
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >= std::uint64_t{1} << 53) {
        mantissa = std::uint64_t{1} << 52;
        ++exponent;
    }
    const std::uint64_t bits = (mantissa & ~(std::uint64_t{1} << 52)) | static_cast<std::uint64_t>(exponent) << 52;
    double number;
    std::memcpy(&number, &bits, sizeof number);
    return number;
}

inline const char* skip_digits(const char* at, const char* end, std::uint64_t& digits) {
    while (end - at >= 8) {
        std::uint64_t chars;
        std::memcpy(&chars, at, 8);
        if (!are_eight_digits(chars)) break;
        digits = digits * 100000000 + eight_digits(chars);
        at += 8;
    }
    for (; at < end && is_digit(*at); ++at) digits = digits * 10 + static_cast<std::uint64_t>(*at - '0');
    return at;
}

// The number at `begin`: its end, and nullptr if there is none, or if it is not certain to be a finite float64.
inline const char* read_json_number(const char* begin, const char* end, double& number) {
    const char* at = begin;
    const bool is_negative = at < end && *at == '-';
    at += is_negative;
    if (at == end || !is_digit(*at)) return nullptr;
    const char* const first = at;
    std::uint64_t digits = 0;
    if (*at == '0')
        ++at;
    else
        at = skip_digits(at, end, digits);
    std::ptrdiff_t n_digits = at - first;
    int power = 0;
    if (at < end && *at == '.') {
        const char* const fraction = ++at;
        at = skip_digits(at, end, digits);
        if (at == fraction) return nullptr;
        if (at - fraction > 1000) return nullptr;
        power = static_cast<int>(fraction - at);
        n_digits += at - fraction;
    } else if (is_negative && n_digits == 1 && *first == '0') {
        return nullptr;  // parsers differ in whether the integer -0 is -0.0
    }
    if (n_digits > 19) {  // leading zeros are no significant digits
        const char* significant = first;
        while (significant < at && (*significant == '0' || *significant == '.')) ++significant;
        n_digits = at - significant;
        if (n_digits > 19) return nullptr;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        ++at;
        const bool is_fraction = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) ++at;
        if (at == end || !is_digit(*at)) return nullptr;
        int exponent = 0;
        for (; at < end && is_digit(*at); ++at)
            if (exponent < 10000) exponent = exponent * 10 + (*at - '0');
        power += is_fraction ? -exponent : exponent;
    }
    if (power >= -kMostPower && power <= kMostPower) {
        number = is_negative ? -scaled(digits, power) : scaled(digits, power);
        return at;
    }
#ifdef __cpp_lib_to_chars
    const auto [stopped, error] = std::from_chars(begin, at, number);
    if (error == std::errc() && stopped == at && std::isfinite(number)) return at;
#endif
    return nullptr;
}

}  // namespace mlrf
