package org.gemcut.core;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Locale;

/** White space, numbers and escapes as docs/concepts/prompt.md of Gemcut has them: exactly Python's. */
final class PromptText {
    private PromptText() {}

    /** What Python's str.strip() takes away. */
    static boolean isSpace(char one) {
        return one >= 0x09 && one <= 0x0D || one >= 0x1C && one <= 0x20 || one == 0x85 || one == 0xA0 || one == 0x1680
                || one >= 0x2000 && one <= 0x200A || one == 0x2028 || one == 0x2029 || one == 0x202F || one == 0x205F
                || one == 0x3000;
    }

    /** how: none, start, end or both. */
    static String trim(String text, String how) {
        int start = 0;
        int end = text.length();
        if (how.equals("start") || how.equals("both")) {
            while (start < end && isSpace(text.charAt(start))) {
                start++;
            }
        }
        if (how.equals("end") || how.equals("both")) {
            while (end > start && isSpace(text.charAt(end - 1))) {
                end--;
            }
        }
        return text.substring(start, end);
    }

    /** Code point by code point; Java's own order is by UTF-16 units. */
    static int compare(String one, String other) {
        int i = 0;
        while (i < one.length() && i < other.length()) {
            int a = one.codePointAt(i);
            int b = other.codePointAt(i);
            if (a != b) {
                return a < b ? -1 : 1;
            }
            i += Character.charCount(a);
        }
        return one.length() - other.length();
    }

    /** A JSON string without its quotes. */
    static String escaped(String text) {
        StringBuilder out = new StringBuilder(text.length() + 8);
        for (int i = 0; i < text.length(); i++) {
            char one = text.charAt(i);
            int named = "\"\\\n\r\t\b\f".indexOf(one);
            if (named >= 0) {
                out.append('\\').append("\"\\nrtbf".charAt(named));
            } else if (one < ' ') {
                out.append(String.format(Locale.ROOT, "\\u%04x", (int) one));
            } else {
                out.append(one);
            }
        }
        return out.toString();
    }

    /** The text of a JSON number; null where it is none that can be written. */
    static String number(String json) {
        if (json.matches("-?\\d+")) {
            return json.equals("-0") ? "0" : json;
        }
        double value;
        try {
            value = Double.parseDouble(json);
        } catch (NumberFormatException error) {
            return null;
        }
        return Double.isNaN(value) || Double.isInfinite(value) ? null : decimal(value);
    }

    private static String decimal(double value) {
        if (value == 0.0) {
            return 1 / value < 0 ? "-0.0" : "0.0";
        }
        BigDecimal shortest = shortest(value);
        int exponent = shortest.precision() - shortest.scale() - 1;
        String digits = shortest.unscaledValue().abs().toString();
        String sign = value < 0 ? "-" : "";
        if (exponent >= -4 && exponent < 16) {
            String plain = shortest.abs().toPlainString();
            return sign + (plain.indexOf('.') < 0 ? plain + ".0" : plain);
        }
        String mantissa = digits.length() > 1 ? digits.charAt(0) + "." + digits.substring(1) : digits;
        int size = Math.abs(exponent);
        return sign + mantissa + (exponent < 0 ? "e-" : "e+") + (size < 10 ? "0" : "") + size;
    }

    /** The fewest digits that read back as the same double, the nearest of those; Double.toString may give more. */
    private static BigDecimal shortest(double value) {
        BigDecimal exact = new BigDecimal(value);
        for (int digits = 1; digits < 17; digits++) {
            BigDecimal below = exact.round(new MathContext(digits, RoundingMode.DOWN));
            BigDecimal above = exact.round(new MathContext(digits, RoundingMode.UP));
            boolean belowFits = below.doubleValue() == value;
            boolean aboveFits = above.doubleValue() == value;
            if (belowFits && aboveFits) {
                BigDecimal nearest = exact.round(new MathContext(digits, RoundingMode.HALF_EVEN));
                return nearest.stripTrailingZeros();
            }
            if (belowFits || aboveFits) {
                return (belowFits ? below : above).stripTrailingZeros();
            }
        }
        return exact.round(new MathContext(17, RoundingMode.HALF_EVEN)).stripTrailingZeros();
    }
}
