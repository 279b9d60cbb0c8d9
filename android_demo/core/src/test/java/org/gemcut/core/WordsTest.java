package org.gemcut.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

/** Expected values are what Python 3 prints. */
public class WordsTest {
    @Test
    public void figuresAreWrittenAsPythonDoes() {
        assertEquals("0", Words.general(0.0));
        assertEquals("-0", Words.general(-0.0));
        assertEquals("1", Words.general(1.0));
        assertEquals("1.52", Words.general(1.5192241668701172));
        assertEquals("0.000676", Words.general(6.76270715668244E-4));
        assertEquals("1e-06", Words.general(1e-6));
        assertEquals("9.99e-05", Words.general(0.0000999));
        assertEquals("0.0001", Words.general(0.00009999));
        assertEquals("999", Words.general(999.4));
        assertEquals("1e+03", Words.general(999.6));
        assertEquals("1.23e+05", Words.general(123456.0));
        assertEquals("0.125", Words.general(0.125));
        assertEquals("0.0625", Words.general(0.0625));
        assertEquals("inf", Words.general(Double.POSITIVE_INFINITY));
        assertEquals("nan", Words.general(Double.NaN));
        assertEquals("1e-100", Words.general(1e-100));
    }

    @Test
    public void namesAreQuotedAsPythonDoes() {
        assertEquals("'phone-01'", Words.quoted("phone-01"));
        assertEquals("\"it's\"", Words.quoted("it's"));
        assertEquals("'it\\'s \"so\"'", Words.quoted("it's \"so\""));
        assertEquals("'a\\\\b\\n\\t\\x01'", Words.quoted("a\\b\n\t\u0001"));
    }

    @Test
    public void bytesAreGrouped() {
        assertEquals("2,147,483,648", Words.count(1L << 31));
        assertEquals("7", Words.count(7));
    }
}
