package org.gemcut.core;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Locale;

/** Figures and names as Gemcut's own messages write them (Python's {@code format} and {@code repr}). */
final class Words {
    private Words() {}

    /** 1234567 as 1,234,567. */
    static String count(long value) {
        return String.format(Locale.ROOT, "%,d", value);
    }

    /** Python's {@code format(value, ".3g")}: three significant digits, no trailing zeros, 1e-05 for what is tiny. */
    static String general(double value) {
        if (Double.isNaN(value)) {
            return "nan";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "inf" : "-inf";
        }
        if (value == 0.0) {
            return 1 / value < 0 ? "-0" : "0";
        }
        BigDecimal rounded = new BigDecimal(value).round(new MathContext(3, RoundingMode.HALF_EVEN));
        int exponent = rounded.precision() - rounded.scale() - 1;
        BigDecimal bare = rounded.stripTrailingZeros();
        if (exponent >= -4 && exponent < 3) {
            return bare.toPlainString();
        }
        String digits = bare.movePointLeft(exponent).toPlainString();
        return digits + (exponent < 0 ? "e-" : "e+") + (Math.abs(exponent) < 10 ? "0" : "") + Math.abs(exponent);
    }

    /** Python's {@code repr} of a name. */
    static String quoted(String text) {
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        StringBuilder out = new StringBuilder().append(quote);
        for (int i = 0; i < text.length(); i++) {
            char one = text.charAt(i);
            if (one == quote || one == '\\') {
                out.append('\\').append(one);
            } else if (one == '\n') {
                out.append("\\n");
            } else if (one == '\r') {
                out.append("\\r");
            } else if (one == '\t') {
                out.append("\\t");
            } else if (one < ' ' || one == 127) {
                out.append(String.format(Locale.ROOT, "\\x%02x", (int) one));
            } else {
                out.append(one);
            }
        }
        return out.append(quote).toString();
    }
}
