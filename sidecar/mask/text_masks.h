// Masks of text, and the forms by which they are recognised when they come back.
#pragma once

#include <string>
#include <string_view>

#include "postern/v1/policy.pb.h"

namespace postern::mask {

// Redaction constants of the types whose constant is recognisable.
inline constexpr std::string_view kRedacted = "[redacted]";
inline constexpr std::string_view kRedactedBytea = "\\x5b72656461637465645d";
inline constexpr std::string_view kRedactedJson = "\"[redacted]\"";
inline constexpr std::string_view kRedactedJsonb = "\x01\"[redacted]\"";
inline constexpr std::string_view kRedactedXml = "<redacted/>";
// UUIDs of masks are of version 8 (RFC 9562: vendor's own) and begin with "mask" in ASCII.
inline constexpr std::string_view kRedactedUuid = "6d61736b-0000-8000-8000-000000000000";
inline constexpr std::string_view kRedactedUuidBinary{"mask\0\0\x80\0\x80\0\0\0\0\0\0\0", 16};

// Number of hexadecimal characters after "h_" in a hash.
inline constexpr size_t kHashCharacters = 24;

// Appends the mask of `value` for LAST4, PARTIAL and EMAIL_DOMAIN; everything else, and every value that does not fit
// its strategy (too short, not an address, not UTF-8), becomes kRedacted or stars. What is kept of `value`:
//   LAST4         "****" and the last four characters, of values of eight or more
//   PARTIAL       first and last character around "***", of values of four or more
//   EMAIL_DOMAIN  "***@" and what follows the last @, when that is a host name
void AppendTextMask(v1::MaskStrategy strategy, std::string_view value, std::string* out);

// Appends "[email redacted]" and so on, for a detector's name: what stands for a part of a text that was found.
void AppendDetected(std::string_view detector, std::string* out);

// True for texts that hold what AppendDetected() makes, and for complete outputs of AppendTextMask, of hashes and of
// recognisable redaction constants.
bool IsMaskText(std::string_view value);

// Number of code points; -1 if `text` is not UTF-8.
int CountCharacters(std::string_view text);

}  // namespace postern::mask
