#include "sidecar/mask/check_digits.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

namespace postern::mask {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool AllDigits(std::string_view text) { return std::all_of(text.begin(), text.end(), IsDigit); }
int DigitAt(std::string_view text, size_t i) { return text[i] - '0'; }

int Number(std::string_view digits) {
  int number = 0;
  for (const char c : digits) number = number * 10 + (c - '0');
  return number;
}

// ISO/IEC 7812-1 annex B.
bool Luhn(std::string_view digits) {
  int sum = 0;
  bool twice = false;
  for (size_t i = digits.size(); i-- > 0; twice = !twice) {
    const int digit = DigitAt(digits, i) * (twice ? 2 : 1);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 == 0;
}

bool IsDate(int month, int day) { return month >= 1 && month <= 12 && day >= 1 && day <= 31; }

// "ddd-dd-dddd" and its like: digits where the pattern has d, else itself.
bool Fits(std::string_view text, std::string_view pattern) {
  return text.size() == pattern.size() && std::equal(text.begin(), text.end(), pattern.begin(), [](char c, char p) {
           return p == 'd' ? IsDigit(c) : p == 'A' ? IsUpper(c) : p == 'x' ? IsDigit(c) || IsUpper(c) : c == p;
         });
}

// Social security numbers have no check digit, but ranges that are never given, and dashes.
bool IsUnitedStates(std::string_view text) {
  if (!Fits(text, "ddd-dd-dddd")) return false;
  const int area = Number(text.substr(0, 3));
  return area != 0 && area != 666 && area < 900 && text.substr(4, 2) != "00" && text.substr(7) != "0000";
}

// CPF: two check digits, weighted sums modulo 11.
bool IsBrazil(std::string_view text) {
  if (!Fits(text, "ddd.ddd.ddd-dd")) return false;
  std::string digits;
  for (const char c : text) {
    if (IsDigit(c)) digits.push_back(c);
  }
  if (digits.find_first_not_of(digits[0]) == std::string::npos) return false;
  for (const size_t length : {size_t{9}, size_t{10}}) {
    int sum = 0;
    for (size_t i = 0; i < length; ++i) sum += DigitAt(digits, i) * static_cast<int>(length + 1 - i);
    if (sum * 10 % 11 % 10 != DigitAt(digits, length)) return false;
  }
  return true;
}

// Steuer-ID: of the first ten digits one comes two or three times; ISO 7064 MOD 11,10.
bool IsGermany(std::string_view text) {
  if (!Fits(text, "ddddddddddd") || text[0] == '0') return false;
  std::array<int, 10> times{};
  for (size_t i = 0; i < 10; ++i) ++times[static_cast<size_t>(DigitAt(text, i))];
  const auto repeated = std::count_if(times.begin(), times.end(), [](int n) { return n > 1; });
  if (repeated != 1 || *std::max_element(times.begin(), times.end()) > 3) return false;
  int product = 10;
  for (size_t i = 0; i < 10; ++i) {
    int sum = (DigitAt(text, i) + product) % 10;
    if (sum == 0) sum = 10;
    product = sum * 2 % 11;
  }
  return (11 - product) % 10 == DigitAt(text, 10);
}

// DNI and NIE: a letter by the remainder of 23.
bool IsSpain(std::string_view text) {
  constexpr std::string_view kLetters = "TRWAGMYFPDXBNJZSQVHLCKE";
  std::string digits;
  if (Fits(text, "ddddddddA")) {
    digits = text.substr(0, 8);
  } else if (Fits(text, "AdddddddA") && text[0] >= 'X' && text[0] <= 'Z') {
    digits = std::string(1, static_cast<char>('0' + (text[0] - 'X'))).append(text.substr(1, 7));
  } else {
    return false;
  }
  return kLetters[static_cast<size_t>(Number(digits)) % kLetters.size()] == text[8];
}

// NIR: sex, year, month, place, number, and a key of 97.
bool IsFrance(std::string_view text) {
  if (!Fits(text, "ddddddddddddddd") || (text[0] != '1' && text[0] != '2')) return false;
  const int month = Number(text.substr(3, 2));
  if (month < 1 || month > 12) return false;
  int64_t number = 0;
  for (const char c : text.substr(0, 13)) number = number * 10 + (c - '0');
  return 97 - number % 97 == Number(text.substr(13));
}

// Codice fiscale: a letter by the values of the others at odd and even places.
bool IsItaly(std::string_view text) {
  if (!Fits(text, "AAAAAAxxAxxAxxxA")) return false;
  constexpr std::array<int, 26> kOdd = {1,  0,  5, 7, 9, 13, 15, 17, 19, 21, 2,  4,  18,
                                        20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
  int sum = 0;
  for (size_t i = 0; i < 15; ++i) {
    const int value = IsDigit(text[i]) ? text[i] - '0' : text[i] - 'A';
    sum += i % 2 == 0 ? kOdd[static_cast<size_t>(value)] : value;
  }
  return text[15] - 'A' == sum % 26;
}

// PESEL: a date with its century in the month, and a weighted sum.
bool IsPoland(std::string_view text) {
  if (!Fits(text, "ddddddddddd")) return false;
  if (!IsDate(Number(text.substr(2, 2)) % 20, Number(text.substr(4, 2)))) return false;
  constexpr std::array<int, 10> kWeights = {1, 3, 7, 9, 1, 3, 7, 9, 1, 3};
  int sum = 0;
  for (size_t i = 0; i < kWeights.size(); ++i) sum += DigitAt(text, i) * kWeights[i];
  return (10 - sum % 10) % 10 == DigitAt(text, 10);
}

// Personnummer: a date and a check digit by Luhn, with its separator.
bool IsSweden(std::string_view text) {
  if (Fits(text, "dddddddd-dddd")) text.remove_prefix(2);
  if (!Fits(text, "dddddd-dddd") || !IsDate(Number(text.substr(2, 2)), Number(text.substr(4, 2)))) return false;
  return Luhn(std::string(text.substr(0, 6)).append(text.substr(7)));
}

struct IbanLength {
  char country[3];
  size_t length;
};
// The registry of ISO 13616, sorted.
constexpr IbanLength kIbanLengths[] = {
    {"AD", 24}, {"AE", 23}, {"AL", 28}, {"AT", 20}, {"AZ", 28}, {"BA", 20}, {"BE", 16}, {"BG", 22}, {"BH", 22},
    {"BI", 27}, {"BR", 29}, {"BY", 28}, {"CH", 21}, {"CR", 22}, {"CY", 28}, {"CZ", 24}, {"DE", 22}, {"DJ", 27},
    {"DK", 18}, {"DO", 28}, {"EE", 20}, {"EG", 29}, {"ES", 24}, {"FI", 18}, {"FK", 18}, {"FO", 18}, {"FR", 27},
    {"GB", 22}, {"GE", 22}, {"GI", 23}, {"GL", 18}, {"GR", 27}, {"GT", 28}, {"HR", 21}, {"HU", 28}, {"IE", 22},
    {"IL", 23}, {"IQ", 23}, {"IS", 26}, {"IT", 27}, {"JO", 30}, {"KW", 30}, {"KZ", 20}, {"LB", 28}, {"LC", 32},
    {"LI", 21}, {"LT", 20}, {"LU", 20}, {"LV", 21}, {"LY", 25}, {"MC", 27}, {"MD", 24}, {"ME", 22}, {"MK", 19},
    {"MN", 20}, {"MR", 27}, {"MT", 31}, {"MU", 30}, {"NI", 28}, {"NL", 18}, {"NO", 15}, {"OM", 23}, {"PK", 24},
    {"PL", 28}, {"PS", 29}, {"PT", 25}, {"QA", 29}, {"RO", 24}, {"RS", 22}, {"RU", 33}, {"SA", 24}, {"SC", 31},
    {"SD", 18}, {"SE", 24}, {"SI", 19}, {"SK", 24}, {"SM", 27}, {"SO", 23}, {"ST", 25}, {"SV", 28}, {"TL", 23},
    {"TN", 24}, {"TR", 26}, {"UA", 29}, {"VA", 22}, {"VG", 24}, {"XK", 20},
};

}  // namespace

bool IsCardNumber(std::string_view digits) {
  if (digits.size() < 13 || digits.size() > 19 || !AllDigits(digits)) return false;
  const int four = Number(digits.substr(0, 4)), two = four / 100;
  bool known = false;
  switch (digits.size()) {
    case 13:  // Visa, the old length
      known = digits[0] == '4';
      break;
    case 14:  // Diners
      known = two == 30 || two == 36 || two == 38 || two == 39;
      break;
    case 15:  // American Express
      known = two == 34 || two == 37;
      break;
    case 16:  // Visa, both ranges of Mastercard, JCB, Discover, UnionPay, Maestro
      known = digits[0] == '4' || (two >= 50 && two <= 58) || (four >= 2221 && four <= 2720) || two == 35 ||
              digits[0] == '6';
      break;
    default:  // Visa of 19 digits, Maestro, UnionPay, Discover
      known = (digits[0] == '4' && digits.size() == 19) || two == 50 || (two >= 56 && two <= 58) || digits[0] == '6';
  }
  return known && Luhn(digits);
}

size_t IbanLengthOf(std::string_view iban) {
  const auto* country = std::find_if(std::begin(kIbanLengths), std::end(kIbanLengths),
                                     [&](const IbanLength& each) { return iban.starts_with(each.country); });
  return country == std::end(kIbanLengths) ? 0 : country->length;
}

bool IsIban(std::string_view compact) {
  if (compact.size() < 15 || !Fits(compact.substr(0, 4), "AAdd") || compact.size() != IbanLengthOf(compact)) {
    return false;
  }
  int remainder = 0;
  const auto add = [&](char c) {
    if (IsDigit(c)) {
      remainder = (remainder * 10 + (c - '0')) % 97;
    } else {
      remainder = (remainder * 100 + (c - 'A' + 10)) % 97;
    }
  };
  for (const char c : compact.substr(4)) {
    if (!IsDigit(c) && !IsUpper(c)) return false;
    add(c);
  }
  for (const char c : compact.substr(0, 4)) add(c);
  return remainder == 1;
}

bool IsNationalId(std::string_view text) {
  return IsUnitedStates(text) || IsBrazil(text) || IsGermany(text) || IsSpain(text) || IsFrance(text) ||
         IsItaly(text) || IsPoland(text) || IsSweden(text);
}

}  // namespace postern::mask
