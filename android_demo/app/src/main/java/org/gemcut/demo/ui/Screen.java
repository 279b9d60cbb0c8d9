package org.gemcut.demo.ui;

import android.app.Activity;
import android.view.View;
import android.widget.Button;
import android.widget.ProgressBar;
import android.widget.TextView;
import java.util.concurrent.atomic.AtomicInteger;
import org.gemcut.core.BundleException;
import org.gemcut.core.Progress;
import org.gemcut.demo.session.Words;

/** What the screens share. */
abstract class Screen extends Activity {
    /** Which bundle a screen is about: its SHA-256, as the store knows it. */
    static final String BUNDLE = "org.gemcut.demo.BUNDLE";

    private static final int PARTS = 1000;
    private static final long SPELL = 100L * 1000 * 1000; // nanoseconds between two looks at a progress bar

    /** Work that may fail in words. */
    interface Work {
        void run() throws BundleException;
    }

    private final AtomicInteger stops = new AtomicInteger();
    private int begun; // stops when the work at hand was asked for; on the worker

    final DemoApp app() {
        return (DemoApp) getApplication();
    }

    final TextView text(int id) {
        return (TextView) findViewById(id);
    }

    final Button button(int id) {
        return (Button) findViewById(id);
    }

    final void show(int id, boolean visible) {
        findViewById(id).setVisibility(visible ? View.VISIBLE : View.GONE);
    }

    final void stopWork() {
        stops.incrementAndGet();
    }

    /** Does something on the app's worker, and shows what goes wrong. */
    final void work(final Work what) {
        final int now = stops.get();
        app().work(new Runnable() {
            @Override
            public void run() {
                begun = now;
                try {
                    what.run();
                } catch (BundleException error) {
                    failedLater(error);
                } catch (RuntimeException error) {
                    failedLater(unexpected(error));
                } catch (OutOfMemoryError error) {
                    failedLater(unexpected(error));
                }
            }
        });
    }

    private static BundleException unexpected(Throwable error) {
        return new BundleException(BundleException.Kind.RUNTIME, "something went wrong: " + error,
                "close other apps and try again", error);
    }

    private void failedLater(final BundleException error) {
        later(new Runnable() {
            @Override
            public void run() {
                failed(error);
            }
        });
    }

    /** Does something on the screen's thread, unless the screen is gone by then. */
    final void later(final Runnable what) {
        runOnUiThread(new Runnable() {
            @Override
            public void run() {
                if (!isDestroyed()) {
                    what.run();
                }
            }
        });
    }

    /** Shows an error in words. */
    abstract void failed(BundleException error);

    static String words(BundleException error) {
        return Words.of(error);
    }

    /** A progress bar's and a label's progress, for work at hand; text is what the label says of a file or prompt. */
    final Progress progress(final int bar, final int label, final Label text) {
        final int at = begun;
        return new Progress() {
            private long shown;

            @Override
            public boolean update(final long done, final long total, final String what) {
                long now = System.nanoTime();
                if (now - shown > SPELL || done == total) {
                    shown = now;
                    later(new Runnable() {
                        @Override
                        public void run() {
                            ProgressBar view = (ProgressBar) findViewById(bar);
                            view.setIndeterminate(total <= 0);
                            view.setMax(PARTS);
                            view.setProgress(total <= 0 ? 0 : (int) (PARTS * done / total));
                            text(label).setText(text.of(done, total, what));
                        }
                    });
                }
                return stops.get() == at;
            }
        };
    }

    /** How progress is said. */
    interface Label {
        String of(long done, long total, String what);
    }

    @Override
    protected void onDestroy() {
        stopWork();
        super.onDestroy();
    }
}
