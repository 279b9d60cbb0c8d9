package org.gemcut.demo.session;

/** What this app can do with the phone. Each was confirmed before it is called. */
public interface PhoneActions {
    /** What the phone refused, in words for the model and the person. */
    final class Failed extends Exception {
        private static final long serialVersionUID = 1L;

        public Failed(String message) {
            super(message);
        }
    }

    /** Sets an alarm in the clock app. hour: 0 to 23; minute: 0 to 59. */
    void setAlarm(int hour, int minute) throws Failed;

    /** Opens the draft of a message; the person sends it. to: a name or a number, as it was said. */
    void draftMessage(String to, String text) throws Failed;

    /** Switches the torch. */
    void setTorch(boolean on) throws Failed;
}
