// Numbers that carry a proof of themselves. Inside of the detectors.
#pragma once

#include <cstddef>
#include <string_view>

namespace postern::mask {

// Digits only, 13 to 19 of them, of an issuer's range, with a right check digit.
bool IsCardNumber(std::string_view digits);
// How long the IBANs of a country are, which begin with its two letters; 0: it has none.
size_t IbanLengthOf(std::string_view iban);
// Letters in upper case and digits, of its country's length, remainder 1 of 97.
bool IsIban(std::string_view compact);
// A national identification number in its usual writing: US, BR (with their separators), DE, ES, FR, IT, PL, SE.
bool IsNationalId(std::string_view text);

}  // namespace postern::mask
