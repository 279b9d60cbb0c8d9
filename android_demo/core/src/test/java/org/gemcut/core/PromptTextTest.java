package org.gemcut.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

public class PromptTextTest {
    @Test
    public void keysAreOrderedByCodePoint() {
        // U+FFEE comes before U+1F600, whose first UTF-16 unit is U+D83D.
        assertTrue(PromptText.compare("\uffee", "\ud83d\ude00") < 0);
        assertTrue(PromptText.compare("a\ud83d\ude00", "a\uffee") > 0);
        assertTrue(PromptText.compare("a", "ab") < 0);
        assertTrue(PromptText.compare("B", "a") < 0);
        assertEquals(0, PromptText.compare("\ud83d\ude00", "\ud83d\ude00"));
    }

    @Test
    public void whiteSpaceIsThatOfPython() {
        assertEquals("a b", PromptText.trim("\u0085\u00a0 a b\u2003\u001c", "both"));
        assertEquals("a ", PromptText.trim(" a ", "start"));
        assertEquals(" a", PromptText.trim(" a ", "end"));
        assertEquals(" a ", PromptText.trim(" a ", "none"));
        assertEquals("\u200ba\ufeff", PromptText.trim("\u200ba\ufeff", "both"));
    }

    @Test
    public void numbersThatAreNoneHaveNoText() {
        assertNull(PromptText.number("NaN"));
        assertNull(PromptText.number("1e999"));
        assertNull(PromptText.number("one"));
        assertEquals("1e+16", PromptText.number("1e16"));
    }

    @Test
    public void theLikeliestIsTheFirstOfEquals() {
        assertEquals(1, Replay.argmax(new float[] {0f, 2f, 2f, 1f}));
        assertEquals(2, Replay.argmax(new float[] {0f, 2f, Float.NaN, 3f}));
        assertEquals(0, Replay.argmax(new float[] {Float.NEGATIVE_INFINITY, Float.NEGATIVE_INFINITY}));
        assertEquals(Math.log(2.0) + 1000.0, Replay.logPartition(new float[] {1000f, 1000f}), 1e-12);
        assertTrue(Double.isNaN(Replay.logPartition(new float[] {1f, Float.NaN})));
    }
}
