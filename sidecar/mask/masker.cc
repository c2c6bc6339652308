#include <utility>

#include "common/crypto/hash.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"
#include "sidecar/mask/pg_types.h"
#include "sidecar/mask/text_masks.h"
#include "sidecar/mask/years.h"

namespace postern::mask {
namespace {

constexpr int16_t kText = 0;
constexpr int16_t kBinary = 1;
constexpr size_t kUuidBytes = 16;
constexpr int64_t kMicrosecondsPerDay = 86'400'000'000;

// So that a text and a UUID of the same bytes have unrelated hashes.
constexpr std::string_view kTextDomain = "text:";
constexpr std::string_view kUuidDomain = "uuid:";

std::string_view TrimBlanks(std::string_view value) {
  while (value.ends_with(' ')) value.remove_suffix(1);
  return value;
}

// 8-4-4-4-12, as the server writes it. Empty if it is anything else.
std::string UuidBytes(std::string_view text) {
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    if (c == '-') continue;
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) return {};
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<char>(high * 16 + digit));
      high = -1;
    }
  }
  if (high >= 0 || bytes.size() != kUuidBytes) return {};
  return bytes;
}

std::string UuidText(std::string_view bytes) {
  std::string text = crypto::HexEncode(bytes);
  for (const size_t at : {8, 13, 18, 23}) text.insert(at, 1, '-');
  return text;
}

void AppendConstant(const TypeInfo& type, int16_t format, std::string* out) {
  out->append(format == kBinary ? type.binary : type.text);
}

// The year of a date or timestamp in either format; nullopt also when 1 January of it is out of the type's range.
std::optional<int64_t> YearOf(TypeClass type, int16_t format, std::string_view value) {
  std::optional<int64_t> year;
  if (format == kText) {
    year = YearOfText(value);
  } else if (type == TypeClass::kDate && value.size() == 4) {
    year = YearOfDays(static_cast<int32_t>(ReadUint32(value)));
  } else if (type != TypeClass::kDate && value.size() == 8) {
    year = YearOfMicroseconds(static_cast<int64_t>(ReadUint64(value)));
  }
  if (year && !YearInRange(*year, type != TypeClass::kDate)) return std::nullopt;
  return year;
}

void AppendYear(const TypeInfo& type, int16_t format, std::string_view value, std::string* out) {
  const std::optional<int64_t> year = YearOf(type.type_class, format, value);
  if (!year) return AppendConstant(type, format, out);
  if (format == kBinary) {
    const int64_t days = DaysToYear(*year);
    if (type.type_class == TypeClass::kDate) return AppendUint32(static_cast<uint32_t>(days), out);
    return AppendUint64(static_cast<uint64_t>(days * kMicrosecondsPerDay), out);
  }
  // A time zone would tell summer from winter, so it is always UTC.
  const std::string_view time = type.type_class == TypeClass::kDate          ? ""
                                : type.type_class == TypeClass::kTimestampTz ? " 00:00:00+00"
                                                                             : " 00:00:00";
  AppendFirstOfYear(*year, time, out);
}

// The empty array: no dimensions, no NULLs, and the element type of the array that it replaces.
bool AppendEmptyArray(int16_t format, std::string_view value, std::string* out) {
  if (format == kText) {
    out->append("{}");
    return true;
  }
  constexpr size_t kHeader = 12;
  if (value.size() < kHeader) return false;
  out->append(8, '\0');
  out->append(value.substr(8, 4));
  return true;
}

}  // namespace

Masker::Masker(std::string key) : key_(crypto::Secret::Take(key)) {}
Masker::~Masker() = default;

bool Masker::IsSentinel(std::string_view value) { return IsMaskText(value); }

bool Masker::MaskText(v1::MaskStrategy strategy, std::string_view value, std::string* out) const {
  if (strategy == v1::MASK_STRATEGY_HASH && !key_.empty()) {
    const std::string mac = crypto::HmacSha256(key_, std::string(kTextDomain).append(value));
    out->append("h_").append(crypto::HexEncode(mac).substr(0, kHashCharacters));
    return true;
  }
  AppendTextMask(strategy, value, out);
  return true;
}

bool Masker::MaskUuid(v1::MaskStrategy strategy, int16_t format, std::string_view value, std::string* out) const {
  const std::string bytes = format == kBinary ? std::string(value) : UuidBytes(value);
  std::string masked(kRedactedUuidBinary);
  if (strategy == v1::MASK_STRATEGY_HASH && !key_.empty() && bytes.size() == kUuidBytes) {
    const std::string mac = crypto::HmacSha256(key_, std::string(kUuidDomain).append(bytes));
    masked.replace(4, kUuidBytes - 4, mac, 0, kUuidBytes - 4);
    masked[6] = static_cast<char>((masked[6] & 0x0f) | 0x80);  // version 8
    masked[8] = static_cast<char>((masked[8] & 0x3f) | 0x80);  // variant of RFC 9562
  }
  out->append(format == kBinary ? masked : UuidText(masked));
  return true;
}

bool Masker::Apply(const ColumnMask& mask, int16_t format, std::string_view value, std::string* out) const {
  if (mask.detect.empty()) return Mask(mask.strategy, mask.type, format, value, out);
  const std::optional<bool> replaced = ReplaceInValue(mask.type, format, value, mask.detect, out, mask.counts.get());
  if (!replaced.has_value()) return false;
  if (!*replaced) out->append(value);
  return true;
}

bool Masker::Mask(v1::MaskStrategy strategy, sql::Oid type, int16_t format, std::string_view value,
                  std::string* out) const {
  if (format != kText && format != kBinary) return false;
  switch (strategy) {
    case v1::MASK_STRATEGY_REDACT:
    case v1::MASK_STRATEGY_HASH:
    case v1::MASK_STRATEGY_LAST4:
    case v1::MASK_STRATEGY_PARTIAL:
    case v1::MASK_STRATEGY_EMAIL_DOMAIN:
    case v1::MASK_STRATEGY_YEAR:
      break;
    default:  // NULL, and strategies of a newer control plane
      return false;
  }
  const TypeInfo info = FindType(type);
  switch (info.type_class) {
    case TypeClass::kUnknown:
      return false;
    case TypeClass::kConstant:
      AppendConstant(info, format, out);
      return true;
    case TypeClass::kText:
      return MaskText(strategy, value, out);
    case TypeClass::kName: {
      const size_t begin = out->size();
      MaskText(strategy, value, out);
      if (out->size() - begin > kLongestName) out->replace(begin, std::string::npos, kRedacted);
      return true;
    }
    case TypeClass::kBlankPadded:
      return MaskText(strategy, TrimBlanks(value), out);
    case TypeClass::kUuid:
      return MaskUuid(strategy, format, value, out);
    case TypeClass::kDate:
    case TypeClass::kTimestamp:
    case TypeClass::kTimestampTz:
      if (strategy == v1::MASK_STRATEGY_YEAR) {
        AppendYear(info, format, value, out);
      } else {
        AppendConstant(info, format, out);
      }
      return true;
    case TypeClass::kArray:
      return AppendEmptyArray(format, value, out);
  }
  return false;
}

}  // namespace postern::mask
