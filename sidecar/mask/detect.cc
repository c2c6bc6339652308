#include "sidecar/mask/detect.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "common/base/strings.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/check_digits.h"
#include "sidecar/mask/text_masks.h"

namespace postern::mask {
namespace {

enum Class : uint8_t { kPlain = 0, kDigit = 1, kUpper = 2, kLower = 4, kWide = 8, kDash = 16, kTrigger = 32 };
constexpr uint8_t kLetter = kUpper | kLower;
constexpr uint8_t kAlnum = kDigit | kLetter;

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> classes{};
  for (int c = '0'; c <= '9'; ++c) classes[c] = kDigit;
  for (int c = 'A'; c <= 'Z'; ++c) classes[c] = kUpper;
  for (int c = 'a'; c <= 'z'; ++c) classes[c] = kLower;
  for (int c = 0x80; c < 0x100; ++c) classes[c] = kWide;
  classes['-'] = classes['_'] = kDash;
  classes['@'] = classes['+'] = kTrigger;
  return classes;
}
constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

uint8_t ClassOf(char c) { return kClasses[static_cast<unsigned char>(c)]; }
bool Is(char c, uint8_t classes) { return (ClassOf(c) & classes) != 0; }

// A token of an issuer: what follows `prefix` is `least` to `most` letters, digits, - and _ (no dashes if `!dashes`).
struct KeyForm {
  std::string_view prefix;
  size_t least;
  size_t most;
  bool dashes = false;
};
constexpr KeyForm kKeys[] = {
    {"AKIA", 16, 16},
    {"ASIA", 16, 16},
    {"AIza", 35, 35, true},
    {"ghp_", 36, 251},
    {"gho_", 36, 251},
    {"ghu_", 36, 251},
    {"ghs_", 36, 251},
    {"ghr_", 36, 251},
    {"github_pat_", 40, 251, true},
    {"glpat-", 20, 64, true},
    {"xoxb-", 20, 251, true},
    {"xoxp-", 20, 251, true},
    {"xoxa-", 20, 251, true},
    {"xoxr-", 20, 251, true},
    {"xoxs-", 20, 251, true},
    {"sk_live_", 16, 251},
    {"rk_live_", 16, 251},
    {"sk_test_", 16, 251},
    {"rk_test_", 16, 251},
    {"whsec_", 24, 251},
    {"sk-ant-", 32, 251, true},
    {"sk-proj-", 32, 251, true},
    {"npm_", 36, 36},
    {"pypi-AgEI", 40, 251, true},
    {"hf_", 30, 64},
    {"dop_v1_", 64, 64},
    {"shpat_", 32, 32},
    {"SG.", 60, 80, true},
};
constexpr std::string_view kPrivateKey = "-----BEGIN ";

class Scanner {
 public:
  Scanner(std::string_view text, DetectorSet wanted, bool json, std::string* out, DetectorCounts* counts)
      : text_(text), wanted_(wanted), json_(json), out_(*out), counts_(*counts) {}

  bool Run() {
    const size_t size = text_.size();
    uint8_t before = kPlain;  // class of the byte in front
    for (size_t i = 0; i < size;) {
      const uint8_t c = ClassOf(text_[i]);
      size_t next = i + 1;
      if (c == kTrigger) {
        next = text_[i] == '@' ? Email(i) : Phone(i, before);
      } else if (((c & kAlnum) != 0 && (before & (kAlnum | kWide)) == 0) || (c == kDash && before != kDash)) {
        next = WordStart(i, c);
      }
      before = ClassOf(text_[next - 1]);
      i = next;
    }
    if (!found_) return false;
    out_.append(text_.substr(done_));
    return true;
  }

 private:
  char At(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  bool EndsAt(size_t i) const { return !Is(At(i), kAlnum | kWide); }
  bool Wants(Detector detector) const { return wanted_.Contains(detector); }

  // [begin, end) gives way to the detector's name; returns `end`.
  size_t Hit(Detector detector, size_t begin, size_t end) {
    found_ = true;
    ++counts_[static_cast<size_t>(detector)];
    out_.append(text_.substr(done_, begin - done_));
    const bool quote = json_ && !InString(begin);
    if (quote) out_.push_back('"');
    AppendDetected(policy::DetectorName(detector), &out_);
    if (quote) out_.push_back('"');
    done_ = end;
    return end;
  }

  // Of a JSON document. Asked in order.
  bool InString(size_t at) {
    for (; json_at_ < at; ++json_at_) {
      if (in_string_ && text_[json_at_] == '\\') {
        ++json_at_;
      } else if (text_[json_at_] == '"') {
        in_string_ = !in_string_;
      }
    }
    return in_string_;
  }

  // `at` is an @. Returns where to go on.
  size_t Email(size_t at) {
    constexpr size_t kLongestLocal = 64, kLongestDomain = 253;
    if (!Wants(Detector::kEmail)) return at + 1;
    const auto is_local = [](char c) {
      return Is(c, kAlnum | kWide | kDash) || c == '.' || c == '%' || c == '+' || c == '\'';
    };
    const size_t least = std::max(done_, at - std::min(at, kLongestLocal));
    size_t begin = at;
    while (begin > least && is_local(text_[begin - 1])) --begin;
    while (begin < at && (text_[begin] == '.' || text_[begin] == '\'')) ++begin;
    size_t end = at + 1, dot = 0;
    for (; end < text_.size() && end - at <= kLongestDomain; ++end) {
      const char c = text_[end];
      if (c == '.' && text_[end - 1] != '.' && end > at + 1) {
        // Of a sentence's end unless a label follows.
        if (!Is(At(end + 1), kAlnum | kWide)) break;
        dot = end;
      } else if (c == '.' || (!Is(c, kAlnum | kWide) && c != '-')) {
        break;
      }
    }
    const bool top_level = dot != 0 && end - dot > 2 && Is(text_[dot + 1], kLetter | kWide);
    return begin < at && top_level ? Hit(Detector::kEmail, begin, end) : at + 1;
  }

  // `at` is a +: a number with its country, as E.164 has it, with the separators that people write.
  size_t Phone(size_t at, uint8_t before) {
    if (!Wants(Detector::kPhone) || (before & (kAlnum | kWide)) != 0 || At(at + 1) < '1' || At(at + 1) > '9') {
      return at + 1;
    }
    size_t digits = 0, separators = 0, end = at + 1;
    for (size_t i = at + 1; i < text_.size() && digits <= 15 && separators <= 2; ++i) {
      const char c = text_[i];
      if (Is(c, kDigit)) {
        ++digits;
        separators = 0;
        end = i + 1;
      } else if (c == ' ' || c == '-' || c == '.' || c == '(' || c == ')' || c == '/') {
        ++separators;
      } else {
        break;
      }
    }
    return digits >= 8 && digits <= 15 && EndsAt(end) ? Hit(Detector::kPhone, at, end) : at + 1;
  }

  size_t WordStart(size_t at, uint8_t c) {
    size_t end = 0;
    if (c == kDash) {
      if (Wants(Detector::kApiKey) && (end = PrivateKeyEnd(at)) != 0) return Hit(Detector::kApiKey, at, end);
      return at + 1;
    }
    if (Wants(Detector::kNationalId) && (end = NationalIdEnd(at)) != 0) return Hit(Detector::kNationalId, at, end);
    if (c == kDigit) return Wants(Detector::kCard) ? Card(at) : at + 1;
    if (Wants(Detector::kJwt) && (end = JwtEnd(at)) != 0) return Hit(Detector::kJwt, at, end);
    if (Wants(Detector::kApiKey) && (end = KeyEnd(at)) != 0) return Hit(Detector::kApiKey, at, end);
    if (Wants(Detector::kIban) && c == kUpper && (end = IbanEnd(at)) != 0) return Hit(Detector::kIban, at, end);
    return at + 1;
  }

  // Groups of digits with one space or dash between: 13 to 19 of them that end with a group.
  size_t Card(size_t at) {
    char digits[19];
    size_t count = 0, end = 0;
    for (size_t i = at; i < text_.size(); ++i) {
      const char c = text_[i];
      if (Is(c, kDigit)) {
        if (count == sizeof(digits)) break;
        digits[count++] = c;
        // A longer number may be meant, but a right check digit is no accident nine times out of ten.
        if (!Is(At(i + 1), kDigit) && EndsAt(i + 1) && IsCardNumber({digits, count})) end = i + 1;
      } else if ((c != ' ' && c != '-') || !Is(At(i + 1), kDigit)) {
        break;
      }
    }
    if (end == 0 || At(at - 1) == '.' || (At(end) == '.' && Is(At(end + 1), kDigit))) return at + 1;
    return Hit(Detector::kCard, at, end);
  }

  size_t NationalIdEnd(size_t at) const {
    constexpr size_t kLongest = 17;
    if (at > 0 && (text_[at - 1] == '-' || text_[at - 1] == '.' || text_[at - 1] == '_')) return 0;
    size_t end = at;
    while (end < text_.size() && end - at <= kLongest &&
           (Is(text_[end], kAlnum) || text_[end] == '-' || text_[end] == '.')) {
      ++end;
    }
    while (end > at && !Is(text_[end - 1], kAlnum)) --end;
    return end - at >= 9 && EndsAt(end) && IsNationalId(text_.substr(at, end - at)) ? end : 0;
  }

  size_t IbanEnd(size_t at) const {
    constexpr size_t kLongest = 34;
    if (!Is(At(at + 1), kUpper) || !Is(At(at + 2), kDigit) || !Is(At(at + 3), kDigit)) return 0;
    const size_t length = IbanLengthOf(text_.substr(at, 2));
    char compact[kLongest];
    size_t count = 0;
    for (size_t i = at; i < text_.size() && count < length; ++i) {
      const char c = text_[i];
      if (Is(c, kDigit | kUpper)) {
        compact[count++] = c;
        if (count == length) return EndsAt(i + 1) && IsIban({compact, count}) ? i + 1 : 0;
      } else if (c != ' ' || count % 4 != 0) {
        break;
      }
    }
    return 0;
  }

  size_t RunEnd(size_t at) const {
    while (at < text_.size() && Is(text_[at], kAlnum | kDash)) ++at;
    return at;
  }

  // header.payload.signature in base64url, the first two JSON objects and the first with an `alg` (RFC 7519).
  size_t JwtEnd(size_t at) {
    if (at < no_jwt_before_ || text_.substr(at, 3) != "eyJ") return 0;
    const size_t header = RunEnd(at);
    if (At(header) == '.' && text_.substr(header + 1, 3) == "eyJ" && IsJoseHeader(text_.substr(at, header - at))) {
      const size_t payload = RunEnd(header + 1);
      if (At(payload) == '.') return RunEnd(payload + 1);
    }
    // Words within are not looked at again, so that no byte is looked at more than twice.
    no_jwt_before_ = header;
    return 0;
  }

  static bool IsJoseHeader(std::string_view encoded) {
    constexpr size_t kLongest = 4096;
    std::string decoded;
    return encoded.size() <= kLongest && absl::WebSafeBase64Unescape(AbslView(encoded), &decoded) &&
           decoded.find("\"alg\"") != std::string::npos;
  }

  size_t KeyEnd(size_t at) const {
    for (const KeyForm& form : kKeys) {
      if (form.prefix[0] != text_[at] || text_.substr(at, form.prefix.size()) != form.prefix) continue;
      size_t end = at + form.prefix.size();
      const size_t begin = end;
      while (end < text_.size() && end - begin <= form.most &&
             (Is(text_[end], kAlnum) || (form.dashes && (Is(text_[end], kDash) || text_[end] == '.')))) {
        ++end;
      }
      while (end > begin && text_[end - 1] == '.') --end;
      return end - begin >= form.least && end - begin <= form.most ? end : 0;
    }
    return 0;
  }

  // To the end of its last line, or of the text where it is cut off.
  size_t PrivateKeyEnd(size_t at) const {
    if (text_.substr(at, kPrivateKey.size()) != kPrivateKey) return 0;
    if (text_.substr(at, 64).find("PRIVATE KEY-----") == std::string_view::npos) return 0;
    const size_t last = text_.find("-----END ", at + kPrivateKey.size());
    const size_t dashes = last == std::string_view::npos ? last : text_.find("-----", last + 9);
    return dashes == std::string_view::npos ? text_.size() : dashes + 5;
  }

  const std::string_view text_;
  const DetectorSet wanted_;
  const bool json_;
  std::string& out_;
  DetectorCounts& counts_;
  size_t done_ = 0;  // out_ has what comes before
  bool found_ = false;
  size_t no_jwt_before_ = 0;
  size_t json_at_ = 0;
  bool in_string_ = false;
};

constexpr sql::Oid kJson = 114, kXml = 142, kTextArray = 1009, kBpcharArray = 1014, kVarcharArray = 1015, kJsonb = 3802,
                   kText = 25, kBpchar = 1042, kVarchar = 1043;

bool IsTextArray(sql::Oid type) { return type == kTextArray || type == kBpcharArray || type == kVarcharArray; }

// ndim, flags, element type, (size, lower bound) per dimension, then each element with its length; -1: NULL.
std::optional<bool> ReplaceInArray(std::string_view value, DetectorSet wanted, std::string* out,
                                   DetectorCounts* counts) {
  constexpr size_t kHeader = 12, kDimension = 8;
  constexpr uint32_t kMostDimensions = 6, kNull = 0xffffffff;
  if (value.size() < kHeader || ReadUint32(value) > kMostDimensions) return std::nullopt;
  size_t at = kHeader + ReadUint32(value) * kDimension;
  if (value.size() < at) return std::nullopt;
  const size_t begin = out->size();
  out->append(value.substr(0, at));
  bool found = false;
  while (at < value.size()) {
    if (value.size() - at < 4) return std::nullopt;
    const uint32_t length = ReadUint32(value.substr(at));
    at += 4;
    const size_t length_at = out->size();
    AppendUint32(length, out);
    if (length == kNull) continue;
    if (length > value.size() - at) return std::nullopt;
    const std::string_view element = value.substr(at, length);
    at += length;
    if (ReplaceDetected(element, wanted, /*json=*/false, out, counts)) {
      found = true;
      PutUint32(static_cast<uint32_t>(out->size() - length_at - 4), length_at, out);
    } else {
      out->append(element);
    }
  }
  if (!found) out->resize(begin);
  return found;
}

}  // namespace

bool ReplaceDetected(std::string_view text, DetectorSet wanted, bool json, std::string* out, DetectorCounts* counts) {
  return Scanner(text, wanted, json, out, counts).Run();
}

bool IsSearched(sql::Oid type) {
  return type == kText || type == kVarchar || type == kBpchar || type == kJson || type == kJsonb || type == kXml ||
         IsTextArray(type);
}

std::optional<bool> ReplaceInValue(sql::Oid type, int16_t format, std::string_view value, DetectorSet wanted,
                                   std::string* out, DetectorCounts* counts) {
  constexpr int16_t kBinary = 1;
  if (format == kBinary && IsTextArray(type)) {
    const size_t begin = out->size();
    const std::optional<bool> replaced = ReplaceInArray(value, wanted, out, counts);
    if (!replaced.has_value()) out->resize(begin);
    return replaced;
  }
  if (type == 0 && format == kBinary) {
    // What its bytes mean is not known, so that nothing can be put among them.
    std::string scratch;
    if (ReplaceDetected(value, wanted, /*json=*/false, &scratch, counts)) return std::nullopt;
    return false;
  }
  const bool json = type == kJson || type == kJsonb;
  // jsonb_send puts a version in front.
  const size_t prefix = format == kBinary && type == kJsonb ? 1 : 0;
  if (value.size() < prefix) return std::nullopt;
  const size_t begin = out->size();
  out->append(value.substr(0, prefix));
  const bool found = ReplaceDetected(value.substr(prefix), wanted, json, out, counts);
  if (!found) out->resize(begin);
  return found;
}

}  // namespace postern::mask
