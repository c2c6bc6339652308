#include "sidecar/mask/years.h"

#include <cctype>
#include <charconv>
#include <limits>

#include "fmt/format.h"

namespace postern::mask {
namespace {

constexpr int64_t kMicrosecondsPerDay = 86'400'000'000;
// From 0000-03-01 (the era of the algorithm below) to 2000-01-01.
constexpr int64_t kDaysToEpoch = 730'425;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - ((a % b != 0 && (a % b < 0) != (b < 0)) ? 1 : 0); }

// Howard Hinnant's civil_from_days, of which only the year is wanted.
int64_t YearOfDayNumber(int64_t days_since_epoch) {
  const int64_t z = days_since_epoch + kDaysToEpoch;
  const int64_t era = FloorDivide(z, 146'097);
  const int64_t day_of_era = z - era * 146'097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  // The algorithm's year begins in March; day 306 is 1 January.
  return era * 400 + year_of_era + (day_of_year >= 306 ? 1 : 0);
}

// The run of digits that starts at `at`.
std::string_view Digits(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && IsDigit(text[end])) ++end;
  return text.substr(at, end - at);
}

std::optional<int64_t> ParseYear(std::string_view digits, bool bc) {
  int64_t year = 0;
  if (digits.size() < 4 || digits.size() > 7) return std::nullopt;
  std::from_chars(digits.data(), digits.data() + digits.size(), year);
  if (year == 0) return std::nullopt;
  return bc ? 1 - year : year;
}

// "2023-05-17…" and "17/05/2023…" with any of / - . between the numbers.
std::optional<int64_t> YearOfNumbers(std::string_view text, bool bc) {
  const std::string_view first = Digits(text, 0);
  if (first.size() >= 4) {
    return text.size() > first.size() && text[first.size()] == '-' ? ParseYear(first, bc) : std::nullopt;
  }
  if (first.size() != 2 || text.size() < 10) return std::nullopt;
  const char separator = text[2];
  if ((separator != '/' && separator != '-' && separator != '.') || text[5] != separator ||
      Digits(text, 3).size() != 2) {
    return std::nullopt;
  }
  return ParseYear(Digits(text, 6), bc);
}

}  // namespace

std::optional<int64_t> YearOfText(std::string_view text) {
  const bool bc = text.ends_with(" BC");
  if (text.empty()) return std::nullopt;
  if (IsDigit(text[0])) return YearOfNumbers(text, bc);
  // Postgres style: "Wed May 17 10:20:30.5 2023 CEST".
  for (int words = 0; words < 4; ++words) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    text.remove_prefix(space + 1);
  }
  const std::string_view digits = Digits(text, 0);
  if (digits.size() < text.size() && text[digits.size()] != ' ') return std::nullopt;
  return ParseYear(digits, bc);
}

std::optional<int64_t> YearOfDays(int32_t days) {
  if (days == std::numeric_limits<int32_t>::max() || days == std::numeric_limits<int32_t>::min()) return std::nullopt;
  return YearOfDayNumber(days);
}

std::optional<int64_t> YearOfMicroseconds(int64_t microseconds) {
  if (microseconds == std::numeric_limits<int64_t>::max() || microseconds == std::numeric_limits<int64_t>::min()) {
    return std::nullopt;
  }
  return YearOfDayNumber(FloorDivide(microseconds, kMicrosecondsPerDay));
}

int64_t DaysToYear(int64_t year) {
  const int64_t y = year - 1;
  const int64_t days_before = 365 * y + FloorDivide(y, 4) - FloorDivide(y, 100) + FloorDivide(y, 400);
  return days_before - 730'119;  // days before 1 January 2000, counted from 1 January 1
}

void AppendFirstOfYear(int64_t year, std::string_view suffix, std::string* out) {
  const bool bc = year <= 0;
  fmt::format_to(std::back_inserter(*out), "{:04}-01-01{}{}", bc ? 1 - year : year, suffix, bc ? " BC" : "");
}

bool YearInRange(int64_t year, bool timestamp) { return year > 1 - 4714 && year <= (timestamp ? 294'276 : 5'874'897); }

}  // namespace postern::mask
